"""A shop whose sources deliver no row: nothing is trained, and one message says why."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from cartograph.lake import Lake
from cartograph.settings import get_settings
from tests.graph.ml_location import failure, forget_location, guard, load_location, materialized, run
from tests.model.planted import planted_shop, publish_marts

REQUIRED = ("customers", "products", "orders", "order_items")
MARTS = ("dim_customers", "dim_products", "fct_orders", "fct_order_items")


def test_a_shop_without_customers_is_told_so_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    definitions = load_location(monkeypatch, tmp_path, datasets=REQUIRED)
    lake, marts = Lake.from_settings(get_settings()), planted_shop(customers=20).marts
    publish_marts({name: marts[name].slice(0, 0) for name in MARTS}, lake)
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        guard(instance, lake, *MARTS)
        done = run(definitions, instance, "features/customer_features", "models/churn_classifier")
    forget_location()
    assert "no customer in the data" in failure(done, "features__customer_features")
    assert [event.step_key for event in done.all_events if event.is_step_failure] == ["features__customer_features"]
    assert materialized(done) == set()
