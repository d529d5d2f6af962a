"""A selection holds on both sides of the border of code locations: a `+` goes on there, either way."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from cartograph.cli.app import app
from cartograph.cli.selection import choose


def location(edges: dict[str, tuple[str, ...]], given: tuple[str, ...] = ()) -> dg.Definitions:
    """A location that makes the assets of `edges`, each with what it is made of, and is `given` others."""

    def keys(names: tuple[str, ...]) -> list[dg.AssetKey]:
        return [dg.AssetKey.from_user_string(name) for name in names]

    def made(name: str) -> dg.AssetsDefinition:
        @dg.asset(key=dg.AssetKey.from_user_string(name), deps=keys(edges[name]), group_name=name.partition("/")[0])
        def _asset() -> None: ...

        return _asset

    specs = [dg.AssetSpec(key) for key in keys(given)]
    return dg.Definitions(assets=[*map(made, edges), *specs])


@dg.multi_asset(
    specs=[dg.AssetSpec(["causal", "email"], deps=[["published", "orders"]]), dg.AssetSpec(["causal", "email_policy"])]
)
def both():
    """An answer and its policy, which one step makes."""


EVERYTHING = dg.AssetSelection.all()
WAREHOUSE = dg.Definitions.merge(
    dg.Definitions(jobs=[dg.define_asset_job("warehouse", EVERYTHING)]),
    location(
        {
            "raw/orders": (),
            "raw/inventory": (),
            "published/orders": ("raw/orders",),
            "published/stock": ("raw/inventory",),
            "quality/scores": ("published/stock",),
        }
    ),
)
MODELS = dg.Definitions.merge(
    location(
        {
            "features/customers": ("published/orders",),
            "features/products": ("published/stock",),
            "models/demand": ("features/products",),
            "serving/release": ("models/demand", "features/customers", "causal/email"),
        },
        given=("published/orders", "published/stock"),
    ),
    dg.Definitions(assets=[both], jobs=[dg.define_asset_job("models", EVERYTHING)]),
)
CAUSAL = {"causal/email", "causal/email_policy"}
OF_STOCK = {"features/products", "models/demand", "serving/release"}


@pytest.mark.parametrize(
    ("text", "warehouse", "models"),
    [
        ('key:"raw/inventory"+', {"raw/inventory", "published/stock", "quality/scores"}, OF_STOCK),
        ('key:"raw/orders"+', {"raw/orders", "published/orders"}, {"features/customers", "serving/release"} | CAUSAL),
        ('key:"published/stock"+', {"published/stock", "quality/scores"}, OF_STOCK),
        ('key:"raw/inventory"+1', {"raw/inventory", "published/stock"}, set()),
        ('key:"raw/inventory"+2', {"raw/inventory", "published/stock", "quality/scores"}, {"features/products"}),
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
        ('+key:"features/products"', {"raw/inventory", "published/stock"}, {"features/products"}),
        ('1+key:"features/products"', {"published/stock"}, {"features/products"}),
        (
            '+key:"serving/release"',
            {"raw/inventory", "raw/orders", "published/orders", "published/stock"},
            OF_STOCK | CAUSAL | {"features/customers"},
        ),
        ('key:"causal/email"', set(), CAUSAL),
        ('key:"raw/orders"', {"raw/orders"}, set()),
        ('key:"raw/customers"', set(), set()),
        ("raw/customers", set(), set()),
        ("+raw/customers", set(), set()),
        ("raw/orders", {"raw/orders"}, set()),
        ('group:"models" or key:"raw/orders"', {"raw/orders"}, {"models/demand"}),
        ('not key:"raw/inventory"+', {"raw/orders", "published/orders"}, {"features/customers"} | CAUSAL),
    ],
)
def test_a_plus_goes_on_beyond_the_border(text: str, warehouse: set[str], models: set[str]) -> None:
    chosen = choose(text, [(WAREHOUSE, ["warehouse"]), (MODELS, ["models"])])
    assert (set(chosen.assets["warehouse"]), set(chosen.assets["models"])) == (warehouse, models)


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
