"""The sources of a shop's file: taken as it stands, with mistakes told of the file, whichever source makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cartograph.settings import load_settings
from cartograph.shops import Shop, ShopError, load_shop
from cartograph.windows import Window
from ecom_assets.defs.ingestion.shop_sources import shop_components, shop_readers, source_component

ORDERS = """
title: x
currency: EUR
start: 2024-01-01
end: 2024-03-01
sources:
  - type: ecom_assets.components.FilesSource
    attributes: {files: {drops: {path: drops.csv}}}
    datasets: {orders: {select: FROM drops}}
"""
SELECT = "SELECT id AS review_id, moment AS reviewed_at, {} AS title FROM sales"


def shop_of(folder: Path, value: str = "'x'", **file_set: Any) -> Shop:
    (folder / "sales.csv").write_text("id,moment,stars\nr1,2024-01-15,None\n", encoding="utf-8")
    files = {"sales": {"path": str(folder / "sales.csv"), **file_set}}
    source = {
        "type": "ecom_assets.components.FilesSource",
        "attributes": {"files": files},
        "datasets": {"reviews": {"select": SELECT.format(value)}},
    }
    content = {"title": "S", "currency": "EUR", "start": "2024-01-01", "end": "2024-03-01", "sources": [source]}
    (folder / "shops").mkdir()
    (folder / "shops/own.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_shop(load_settings(shops_dir=folder / "shops", shop="own"))


def titles(shop: Shop) -> list[str]:
    (component,) = shop_components(shop)
    window = Window(shop.span.start, shop.span.end)
    deliveries = component.reader(shop).deliveries("reviews", [window])
    return [title for delivery in deliveries for title in delivery.rows["title"].to_pylist()]


@pytest.mark.parametrize("text", ["{{ env('HOME') }}", "{{ env.HOME }}", "{% if x %}", "{# note #}", "{{", "{'a': 1}"])
def test_what_looks_like_a_template_is_what_it_says(tmp_path: Path, text: str) -> None:
    quoted = text.replace("'", "''")
    assert titles(shop_of(tmp_path, f"'{quoted}'")) == [text]


@pytest.mark.parametrize("null", ["None", "0", "True", "1.0"])
def test_text_that_looks_like_another_value_stays_text(tmp_path: Path, null: str) -> None:
    (title,) = titles(shop_of(tmp_path, "coalesce(stars, 'was null')", null_values=[null]))
    assert title == ("was null" if null == "None" else "None")


def test_an_attribute_that_a_source_does_not_have_is_named_with_the_file(tmp_path: Path) -> None:
    shop = shop_of(tmp_path)
    spec = shop.sources[0].model_copy(update={"attributes": {**shop.sources[0].attributes, "fyles": {}}})
    with pytest.raises(ShopError, match=r"own\.yaml: ecom_assets\.components\.FilesSource: fyles: Extra inputs"):
        source_component(spec, shop)


@pytest.mark.parametrize(
    "source",
    [
        "{type: ecom_assets.components.FilesSource, attributes: {files: {x: x}}, datasets: {product: {select: ''}}}",
        "{type: ecom_assets.components.SimulatorSource, attributes: {customers: 9, seed: 1}, datasets: [product]}",
        "{type: ecom_assets.components.EventLogSource, datasets: [product]}",
    ],
)
def test_a_misspelt_dataset_is_told_with_those_that_there_are(tmp_path: Path, source: str) -> None:
    (tmp_path / "x.yaml").write_text(f"{ORDERS}  - {source}\n")
    shop = load_shop(load_settings(shop="x", shops_dir=tmp_path))
    told = r"x\.yaml: no dataset is called product; datasets are .*products"
    with pytest.raises(ShopError, match=told):
        shop_readers(shop)
    for spec in shop.sources:  # As a run asks for each.
        with pytest.raises(ShopError, match=told):
            source_component(spec, shop)
