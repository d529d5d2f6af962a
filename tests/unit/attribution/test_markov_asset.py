"""The asset on a small lake: what it stores, and what its checks say of a share that is far from the planted one."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from cartograph.contracts import Column, Contract
from cartograph.lake import Lake
from cartograph.settings import get_settings
from cartograph.shops import load_shop
from ecom_assets.attribution.markov import CONTRACT
from ecom_assets.defs.attribution.markov_attribution import (
    attribution_definitions,
    close_to_planted_shares,
    column_lineage,
    is_simulated,
    markov_attribution,
)
from ecom_assets.simulator import TRUTH_CONTRACTS
from tests.unit.warehouse.making import tiny_shop

PLACE = Column(name="touch_number", type="bigint", description="Place.")
CHANNEL = Column(name="channel", type="string", description="Channel.")
REVENUE = Column(name="revenue_amount", type="money", description="Revenue.")


def touches(name: str, key: str, *columns: Column) -> Contract:
    path = Column(name=key, type="string", description="Path.")
    return Contract(dataset=name, grain="A touch.", key=(key, "touch_number"), columns=(path, PLACE, CHANNEL, *columns))


def store(lake: Lake, table: str, contract: Contract, rows: list[dict[str, Any]]) -> None:
    blank = {column.name: None if column.nullable else 0 for column in contract.columns}
    lake.ensure(table, contract, None)
    with lake.overwriting(table, None) as writer:
        writer.write(pa.Table.from_pylist([{**blank, **row} for row in rows], schema=contract.arrow_schema()))


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """search → social → an order of 30.00; search alone, and social alone, lead to none."""
    settings = tiny_shop(tmp_path, "events")
    lake = Lake.from_settings(settings)
    path = [{"order_id": "o1", "revenue_amount": Decimal("30.00"), "touch_number": 1, "channel": "search"}]
    path.append({**path[0], "touch_number": 2, "channel": "social"})
    lost = [{"path_key": name, "touch_number": 1, "channel": name} for name in ("search", "social")]
    store(lake, "published.order_touches", touches("order_touches", "order_id", REVENUE), path)
    store(lake, "published.abandoned_touches", touches("abandoned_touches", "path_key"), lost)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("home", "shop", "shops_dir"):
            patch.setenv(f"CARTOGRAPH_{name.upper()}", str(getattr(settings, name)))
        get_settings.cache_clear()
        yield lake
    get_settings.cache_clear()


def plant(lake: Lake, **shares: float) -> None:
    store(
        lake,
        "truth.channels",
        TRUTH_CONTRACTS["channels"],
        [{"channel": channel, "incremental_share": share} for channel, share in shares.items()],
    )


def materialize() -> dict[str, dg.AssetCheckEvaluation]:
    result = dg.materialize([markov_attribution, close_to_planted_shares])
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def test_it_stores_the_credits_and_they_reconcile(lake: Lake) -> None:
    plant(lake, search=0.35, social=0.65)
    checks = materialize()
    with lake.connect() as connection:
        stored = connection.execute(lake.relation_sql("published.markov_attribution")).fetchall()
    assert [(channel, round(share, 6), revenue) for channel, _, share, _, revenue in stored] == [
        ("search", 0.333333, Decimal("10.00")),
        ("social", 0.666667, Decimal("20.00")),
    ]
    assert {name: check.passed for name, check in checks.items()} == {
        "shares_sum_to_one": True,
        "credits_reconcile": True,
        "close_to_planted_shares": True,
    }


def test_a_share_far_from_the_planted_one_warns_and_says_by_how_much(lake: Lake) -> None:
    plant(lake, search=0.6, social=0.3, display=0.1)
    check = materialize()["close_to_planted_shares"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert check.description == "+36.7 points at social; expected: at most 10 points from what was planted"


@pytest.mark.usefixtures("lake")
def test_only_a_simulated_shop_is_held_against_a_truth() -> None:
    assert not is_simulated(load_shop(get_settings()))
    definitions = attribution_definitions()
    assert [asset.key.path[-1] for asset in definitions.assets or ()] == ["markov_attribution"]  # type: ignore[union-attr]
    assert not definitions.asset_checks


def test_lineage_names_each_column() -> None:
    assert set(column_lineage().deps_by_column) == set(CONTRACT.names)
