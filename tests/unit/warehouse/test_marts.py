"""From dbt's manifest to what is published."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cartograph.contracts import Column
from cartograph.windows import Window
from ecom_assets.warehouse.marts import MartError, marts


def make_column(name: str, data_type: str = "varchar", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "data_type": data_type,
        "description": f"The {name}.",
        "constraints": [],
        "config": {"meta": {}},
        **changes,
    }


def make_model(name: str, *columns: dict[str, Any], layer: str = "marts", **config: Any) -> dict[str, Any]:
    return {
        "resource_type": "model",
        "name": name,
        "alias": name,
        "schema": layer,
        "fqn": ["cartograph", layer, name],
        "description": "A thing.",
        "columns": {column["name"]: column for column in columns},
        "config": {"meta": {"domain": "sales"}, **config},
    }


def manifest(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": {f"model.{node['name']}": node for node in nodes}}


def test_a_contract_says_what_the_yaml_says() -> None:
    key = make_column("order_id", constraints=[{"type": "not_null"}])
    mail = make_column("email", config={"meta": {"pii": "email"}})
    node = make_model("fct_orders", key, mail, make_column("total", "decimal(18, 2)"), event_time="ordered_at")
    (mart,) = marts(manifest(node))
    assert (mart.table, mart.relation, mart.domain) == ("published.fct_orders", "marts.fct_orders", "sales")
    assert (mart.contract.key, mart.contract.event_time, mart.contract.grain) == (
        ("order_id",),
        "ordered_at",
        "A thing.",
    )
    assert mart.has_pii
    assert mart.contract.columns == (
        Column(name="order_id", type="string", description="The order_id.", nullable=False),
        Column(name="email", type="string", description="The email.", nullable=True, pii="email"),
        Column(name="total", type="money", description="The total.", nullable=True),
    )


def test_a_margin_widens_what_a_window_replaces() -> None:
    meta = {"domain": "web", "window_margin_days": [2, 1]}
    (mart,) = marts(manifest(make_model("fct_sessions", make_column("session_key"), meta=meta)))
    day = Window(datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC))
    assert mart.replaced(day) == Window(datetime(2024, 2, 28, tzinfo=UTC), datetime(2024, 3, 3, tzinfo=UTC))


def test_a_key_of_several_columns_is_named_in_the_yaml() -> None:
    meta = {"domain": "web", "key": ["event_date", "channel"]}
    node = make_model("conversion_funnel", make_column("event_date", "date"), make_column("channel"), meta=meta)
    assert marts(manifest(node))[0].contract.key == ("event_date", "channel")


def test_only_marts_are_published_by_name() -> None:
    nodes = [make_model("b", make_column("x")), make_model("a", make_column("x")), make_model("s", layer="staging")]
    assert [mart.name for mart in marts(manifest(*nodes))] == ["a", "b"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (make_column("total", "hugeint"), r"m\.total has the data_type 'hugeint'.*Use one of: varchar"),
        (make_column("total", description=""), r"m\.total has no description\. Give it one"),
    ],
)
def test_a_column_that_cannot_be_published_is_named(column: dict[str, Any], message: str) -> None:
    with pytest.raises(MartError, match=message):
        marts(manifest(make_model("m", column)))
