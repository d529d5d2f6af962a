"""The example in the documentation is a shop whose rows all keep their contracts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from cartograph.settings import load_settings
from cartograph.shops import load_shop
from ecom_assets.quality.policy import quarantine_limit
from ecom_assets.sources.files import FilesSource
from ecom_assets.sources.files_config import files_config
from ecom_assets.sources.shop_check import ShopReport, check_shop
from tests.support.whole_run import Bench

ROOT = Path(__file__).parents[3]


def checked_shop(root: Path, monkeypatch: pytest.MonkeyPatch) -> ShopReport:
    monkeypatch.chdir(root)
    settings = load_settings(shops_dir=root / "docs/examples/corner_shop", shop="corner_shop")
    shop = load_shop(settings)
    (spec,) = shop.sources
    reader = FilesSource(files_config(spec.attributes, spec.datasets), shop.span, settings)
    windows = shop.windows("monthly", datetime(2024, 3, 1, tzinfo=UTC))
    return check_shop(shop, [reader], windows, timedelta(hours=settings.late_limit_hours))


def test_the_corner_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    report = checked_shop(ROOT, monkeypatch)
    assert report.obstacles(partial(quarantine_limit, {}, 0)) == ()
    assert all(dataset.is_ok for dataset in report.datasets)
    assert {dataset.dataset: dataset.counts.accepted for dataset in report.datasets} == {
        "customers": 2,
        "products": 2,
        "orders": 3,
        "order_items": 4,
    }
    orders = report.datasets[2].sample
    assert [order["total_amount"] for order in orders] == [Decimal("21.90"), Decimal("4.50"), Decimal("47.60")]
    assert orders[2]["coupon_code"] == "Fünf"


def test_a_number_that_cannot_be_read_is_told_once_by_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench.with_corner_shop(tmp_path)
    sales = bench.root / "docs/examples/corner_shop/data/sales/2024-01.csv"
    lines = sales.read_text(encoding="latin-1")
    for line in ("101;03.01.2024 17:40;;TEA-1;", "100;02.01.2024 09:15;7;CUP-2;"):
        assert f"{line}1;" in lines
        lines = lines.replace(f"{line}1;", f"{line}one;")
    sales.write_text(lines, encoding="latin-1")
    report = checked_shop(tmp_path, monkeypatch)
    found = {d.dataset: {v.reason: v.rows for v in d.violations} for d in report.datasets if d.violations}
    assert found == {"order_items": {"wrong_type:quantity": 2}}
    assert {order["order_id"]: order["total_amount"] for order in report.datasets[2].sample} == {
        "100": Decimal("9.00"),
        "102": Decimal("47.60"),
    }
