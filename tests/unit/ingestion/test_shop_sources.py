"""A mistake of a shop's file about its datasets is told of the file, whichever source makes it."""

from pathlib import Path

import pytest

from cartograph.settings import load_settings
from cartograph.shops import ShopError, load_shop
from ecom_assets.defs.ingestion.shop_sources import shop_readers, source_component

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
