"""The main job on the real shop: what went into the lake and the quarantine explains every line and every penny."""

from __future__ import annotations

import glob
import os
import re
from decimal import Decimal
from pathlib import Path

import pytest

from cartograph.lake import Lake
from tests.support.whole_run import Bench

FILES = os.environ.get("CARTOGRAPH_ONLINE_RETAIL_FILES", "")

pytestmark = pytest.mark.skipif(
    not (FILES and glob.glob(FILES)),  # noqa: PTH207  the setting is a glob of any form
    reason="needs the UCI Online Retail files: set CARTOGRAPH_ONLINE_RETAIL_FILES to their glob",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, str]:
    variables = {"CARTOGRAPH_SHOP": "online_retail", "CARTOGRAPH_ONLINE_RETAIL_FILES": str(Path(FILES).absolute())}
    bench = Bench(tmp_path_factory.mktemp("online_retail"), variables)
    return bench, bench.cartograph("run")


def scalars(bench: Bench, sql: str) -> tuple[object, ...]:
    """The only row of a query in which `{name}` stands for the lake table `name`."""
    lake = Lake.from_settings(bench.settings)
    with lake.connect() as connection:
        filled = re.sub(r"\{([a-z_.]+)\}", lambda match: f"({lake.relation_sql(match[1])})", sql)
        return connection.sql(filled).fetchall()[0]


def test_the_run_succeeds_without_what_the_shop_does_not_have(run: tuple[Bench, str]) -> None:
    bench, printed = run
    assert re.search(r"checks +\d+ passed, \d+ warned, 0 failed", printed)
    assert "causal/email" not in printed
    assert "causal/channel_response" not in printed
    status = bench.cartograph("status")
    assert "without" in status
    assert "campaign effects" in status
    assert "absent marts: dim_payment_methods, fct_payments, payment_mix" in status
    assert "empty     category_affinity: " in status  # this shop's products have no category


def test_each_line_is_loaded_merged_or_quarantined(run: tuple[Bench, str]) -> None:
    counts = scalars(
        run[0],
        """
        SELECT
            (SELECT count(*) FROM {raw.order_items}) + (SELECT count(*) FROM {raw.refunds}),
            (SELECT count(*) FROM {quarantine.order_items}) + (SELECT count(*) FROM {quarantine.refunds}),
            (SELECT count(*) FROM {published.fct_order_items}) + (SELECT count(*) FROM {published.fct_refunds})
        """,
    )
    assert counts == (535_302, 6_607, 535_302)
    assert counts[0] + counts[1] == 541_909


def test_quantity_times_price_reconciles(run: tuple[Bench, str]) -> None:
    loaded, explained = scalars(
        run[0],
        """
        SELECT
            (SELECT sum(quantity * unit_price) FROM {raw.order_items})
            - (SELECT sum(quantity * unit_price) FROM {raw.refunds}),
            (
                SELECT sum(CAST(row ->> 'quantity' AS BIGINT) * CAST(row ->> 'unit_price' AS DECIMAL(18, 4)))
                FROM {quarantine.order_items}
            ) - (
                SELECT sum(CAST(row ->> 'quantity' AS BIGINT) * CAST(row ->> 'unit_price' AS DECIMAL(18, 4)))
                FROM {quarantine.refunds}
            )
        """,
    )
    assert isinstance(loaded, Decimal)
    assert isinstance(explained, Decimal)
    assert loaded != Decimal("9747747.934")
    assert loaded + explained == Decimal("9747747.934")


def test_all_invoices_and_customers_are_found_again(run: tuple[Bench, str]) -> None:
    invoices, customers = scalars(
        run[0],
        """
        SELECT
            (
                SELECT count(DISTINCT id) FROM (
                    SELECT order_id AS id FROM {raw.order_items}
                    UNION ALL SELECT credit_note_id FROM {raw.refunds}
                    UNION ALL SELECT row ->> 'order_id' FROM {quarantine.order_items}
                )
            ),
            (SELECT count(DISTINCT customer_id) FROM {raw.customers})
        """,
    )
    assert (invoices, customers) == (25_900, 4_372)
