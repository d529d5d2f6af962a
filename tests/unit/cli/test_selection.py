"""A selection holds on both sides of the border of code locations: `+` goes on there, and nothing else is widened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from typer.testing import CliRunner

from cartograph.cli.app import app
from cartograph.cli.selection import choose


def graph(edges: dict[str, tuple[str, ...]], given: tuple[str, ...] = ()) -> BaseAssetGraph[Any]:
    """A location that makes the assets of `edges`, each with what it is made of, and is `given` others."""

    def made(name: str) -> dg.AssetsDefinition:
        key = dg.AssetKey(name.split("/"))

        @dg.asset(key=key, deps=[dg.AssetKey(d.split("/")) for d in edges[name]], group_name=name.partition("/")[0])
        def _asset() -> None: ...

        return _asset

    specs = [dg.AssetSpec(dg.AssetKey(name.split("/"))) for name in given]
    return dg.Definitions(assets=[*map(made, edges), *specs]).resolve_asset_graph()


WAREHOUSE = graph(
    {
        "raw/orders": (),
        "raw/inventory": (),
        "published/orders": ("raw/orders",),
        "published/stock": ("raw/inventory",),
        "quality/scores": ("published/stock",),
    }
)
MODELS = graph(
    {
        "features/customers": ("published/orders",),
        "features/products": ("published/stock",),
        "models/demand": ("features/products",),
        "serving/release": ("models/demand", "features/customers"),
    },
    given=("published/orders", "published/stock"),
)
OF_STOCK = {"features/products", "models/demand", "serving/release"}


def chosen(text: str) -> tuple[set[str], set[str], bool]:
    """What a selection holds in each location, and whether the first knows that it is all."""
    first = choose(text, WAREHOUSE)
    second = choose(text, MODELS, first.reached)
    warehouse, models = (
        {key.to_user_string() for key in location.keys & graph.executable_asset_keys}
        for location, graph in ((first, WAREHOUSE), (second, MODELS))
    )
    return warehouse, models, first.is_complete


@pytest.mark.parametrize(
    ("text", "warehouse", "models"),
    [
        ('key:"raw/inventory"+', {"raw/inventory", "published/stock", "quality/scores"}, OF_STOCK),
        ('key:"raw/orders"+', {"raw/orders", "published/orders"}, {"features/customers", "serving/release"}),
        ('key:"published/stock"+', {"published/stock", "quality/scores"}, OF_STOCK),
        ('key:"raw/inventory"+1', {"raw/inventory", "published/stock"}, set()),
        ('group:"raw"', {"raw/orders", "raw/inventory"}, set()),
        ('key:"features/products"+', set(), OF_STOCK),
        (
            'key:"raw/inventory"+ and not key:"serving/release"',
            {"raw/inventory", "published/stock", "quality/scores"},
            OF_STOCK - {"serving/release"},
        ),
        (
            'key:"raw/inventory"+ and key:"raw/orders"+',
            set(),
            {"serving/release"},
        ),
        ('group:"models" or key:"raw/orders"', {"raw/orders"}, {"models/demand"}),
        ('not key:"raw/inventory"+', {"raw/orders", "published/orders"}, {"features/customers"}),
    ],
)
def test_an_open_plus_goes_on_beyond_the_border(text: str, warehouse: set[str], models: set[str]) -> None:
    assert chosen(text)[:2] == (warehouse, models)


@pytest.mark.parametrize(
    ("text", "is_complete"),
    [
        ('key:"raw/orders"', True),
        ('key:"raw/orders" or key:"raw/inventory"', True),
        ('key:"raw/orders"+', False),
        ('key:"raw/*"', False),
        ('key:"raw/orders" or key:"models/demand"', False),
        ('group:"raw"', False),
    ],
)
def test_what_only_names_assets_of_the_first_location_needs_no_other(text: str, is_complete: bool) -> None:
    assert chosen(text)[2] == is_complete


@pytest.mark.parametrize("text", ["", "raw//orders++(", "key:", 'owner:"x', "roots(raw)"])
def test_what_cannot_be_read_is_answered_with_examples_before_anything_is_loaded(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path))
    answer = CliRunner().invoke(app, ["run", "--select", text])
    assert answer.exit_code == 2
    assert "is no asset selection" in answer.output
    assert "group:" in answer.output
    assert not any(tmp_path.iterdir())
