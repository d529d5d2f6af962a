"""The example in the documentation is a shop whose rows all keep their contracts."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cartograph.settings import load_settings
from cartograph.shops import load_shop
from ecom_assets.sources.files import FilesSource
from ecom_assets.sources.files_config import files_config
from ecom_assets.sources.shop_check import check_shop

ROOT = Path(__file__).parents[3]


def test_the_corner_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    settings = load_settings(shops_dir=ROOT / "docs/examples/corner_shop", shop="corner_shop")
    shop = load_shop(settings)
    (spec,) = shop.sources
    reader = FilesSource(files_config(spec.attributes, spec.datasets), shop.span, settings)
    report = check_shop(shop, [reader], shop.windows("monthly", datetime(2024, 3, 1, tzinfo=UTC)))

    assert report.obstacles(limit_pct=0) == ()
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
