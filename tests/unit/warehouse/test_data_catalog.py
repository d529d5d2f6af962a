"""The data catalogue is as the contracts and dbt's YAML are, and is complete."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ecom_assets.contracts import CONTRACTS
from ecom_assets.warehouse.data_catalog import PAGE, data_catalog, full_manifest


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return full_manifest()


def test_the_page_is_up_to_date(manifest: dict[str, Any]) -> None:
    assert PAGE.read_text(encoding="utf-8") == data_catalog(manifest), f"docs/{PAGE.name} is stale: run `make docs`"


def test_every_dataset_model_and_column_is_in_it(manifest: dict[str, Any]) -> None:
    sections = {part.split("\n", 1)[0]: part for part in data_catalog(manifest).split("\n### ")[1:]}
    models = [node for node in manifest["nodes"].values() if node["resource_type"] in {"model", "seed"}]
    assert list(sections)[: len(CONTRACTS)] == [f"raw/{name}" for name in CONTRACTS]
    assert sorted(list(sections)[len(CONTRACTS) : -2]) == sorted(node["name"] for node in models)
    assert list(sections)[-2:] == ["published/markov_attribution", "quality/scores"]
    for node in models:
        for column in node["columns"]:
            assert f"\n| `{column}` | " in sections[node["name"]]
    for name, contract in CONTRACTS.items():
        for column in contract.names:
            assert f"\n| `{column}` | " in sections[f"raw/{name}"]


def test_every_test_and_every_tagged_column_is_told(manifest: dict[str, Any]) -> None:
    page = data_catalog(manifest)
    singular = [n for n in manifest["nodes"].values() if n["resource_type"] == "test" and not n.get("test_metadata")]
    assert singular
    for test in singular:
        assert test["name"] in page
    personal = page.split("\n## Personal data\n")[1].split("\n## ")[0]
    assert "| [dim_customers](#dim_customers) | `email` (email), " in personal
    assert "stg_shop__" not in personal


def test_links_lead_to_headings_and_tables_are_whole(manifest: dict[str, Any]) -> None:
    page = data_catalog(manifest)
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\(#([^)]+)\)", page)) <= anchors
    width = 0
    for line in page.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (width and cells) or cells == width, line
        width = cells
