"""The page `docs/data-catalog.md`: every dataset, model and column, generated so that it cannot drift.

Of the contracts of the raw datasets and dbt's manifest, for a shop that delivers everything. `make docs` writes the
page, and a test holds it true. Prose about the data belongs in the contracts and in dbt's YAML.
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from cartograph.contracts import DUCKDB_TYPES, PROVENANCE, Contract
from cartograph.settings import Settings
from ecom_assets.attribution import markov
from ecom_assets.contracts import CONTRACTS
from ecom_assets.quality import scores
from ecom_assets.warehouse.dbt_project import parsed_project, read_manifest
from ecom_assets.warehouse.marts import column_pii, event_time, is_mart, key_of

PAGE = Path(__file__).parents[4] / "docs" / "data-catalog.md"

_BUILT = ("model", "seed")
_LAYERS = {
    "seeds": "Tables that are kept in the repository, written by `make docs`.",
    "staging": "One model for each raw dataset: typed, renamed, the latest version of each key; no joins.",
    "intermediate": "Steps that several marts share.",
    "marts": "What analysts, features and the API read; each is published to the lake as `published.<mart>`.",
}
_BESIDE = "Beside the marts"
_TABLES_BESIDE = {"published/markov_attribution": markov.CONTRACT, "quality/scores": scores.CONTRACT}
_INTRODUCTION = """# Data catalogue

Every dataset, model and column of the warehouse. `make docs` generates this page from the contracts in
`ecom_assets.contracts` and the YAML beside the dbt models, for a shop that delivers all datasets; without one of the
optional datasets, what is made of it is absent. `cartograph docs` shows the same with lineage and SQL for your shop,
and `cartograph export` writes the marts as files.

All timestamps are UTC. Money is in the shop's currency."""

Node = Mapping[str, Any]


def full_manifest() -> dict[str, Any]:
    """dbt's manifest for a shop that delivers every dataset, with a home that is gone afterwards."""
    with tempfile.TemporaryDirectory() as home:
        return read_manifest(parsed_project(Settings(home=Path(home)), CONTRACTS))


def data_catalog(manifest: Node) -> str:
    """The page."""
    models = _models(manifest)
    tests = _tests(manifest)
    lines = [_INTRODUCTION, "", *_contents(models)]
    lines += ["", "## Raw datasets", "", "As the sources deliver them, in the lake as `raw.<dataset>`.", ""]
    lines += ["Each row also says where it comes from:", ""]
    lines += [f"- `{column.name}`: {_text(column.description)}" for column in PROVENANCE]
    for contract in CONTRACTS.values():
        lines += ["", *_raw(contract)]
    for layer, meaning in _LAYERS.items():
        lines += ["", f"## {_title(layer)}", "", meaning]
        for model in models[layer]:
            lines += ["", *_model(manifest, model, tests[model["unique_id"]])]
    lines += ["", f"## {_BESIDE}", "", "Written into the lake by Python, from what dbt has built."]
    for table, contract in _TABLES_BESIDE.items():
        lines += ["", *_beside(table, contract)]
    lines += ["", "## Personal data", "", *_personal_data(models["marts"])]
    lines += ["", "## Who reads the marts", "", *_exposures(manifest), ""]
    return "\n".join(lines)


def _models(manifest: Node) -> dict[str, list[Node]]:
    """The models and seeds of each layer, by folder and name."""
    found: dict[str, list[Node]] = {layer: [] for layer in _LAYERS}
    for node in manifest["nodes"].values():
        if node["resource_type"] in _BUILT:
            found["seeds" if node["resource_type"] == "seed" else node["fqn"][1]].append(node)
    return {layer: sorted(nodes, key=lambda node: node["fqn"]) for layer, nodes in found.items()}


def _tests(manifest: Node) -> dict[str, list[Node]]:
    """The tests of each model, also those that are written as a query: by the model that they are a check of."""
    ids = {node["name"]: unique_id for unique_id, node in manifest["nodes"].items() if node["resource_type"] in _BUILT}
    found: dict[str, list[Node]] = defaultdict(list)
    for _, node in sorted(manifest["nodes"].items()):
        if node["resource_type"] == "test":
            named = node["config"]["meta"].get("dagster", {}).get("ref", {}).get("name")
            model = node.get("attached_node") or ids.get(named) or node["depends_on"]["nodes"][0]
            found[model].append(node)
    return found


def _contents(models: Mapping[str, Sequence[Node]]) -> Iterator[str]:
    yield "- [Raw datasets](#raw-datasets)"
    yield f"  - {_links(f'raw/{name}' for name in CONTRACTS)}"
    for layer, nodes in models.items():
        yield f"- [{_title(layer)}](#{layer})"
        for folder, within in groupby(nodes, key=_folder):
            yield f"  - {f'{folder}: ' if folder else ''}{_links(node['name'] for node in within)}"
    yield f"- [{_BESIDE}](#{_BESIDE.lower().replace(' ', '-')})"
    yield f"  - {_links(_TABLES_BESIDE)}"
    yield "- [Personal data](#personal-data)"
    yield "- [Who reads the marts](#who-reads-the-marts)"


def _folder(model: Node) -> str:
    """The folder within the layer."""
    return "/".join(model["fqn"][2:-1])


def _raw(contract: Contract) -> Iterator[str]:
    yield f"### raw/{contract.dataset}"
    yield ""
    yield contract.grain
    yield ""
    yield f"- key: {_code(contract.key)}"
    if contract.event_time:
        yield f"- event time: `{contract.event_time}`"
    yield f"- {'required' if contract.required else f'optional; enables {contract.enables}'}"
    for reference in contract.references:
        alike = f", with the same `{reference.alike}`" if reference.alike else ""
        yield f"- `{reference.column}` is a `{reference.to_column}` of {_link(f'raw/{reference.dataset}')}{alike}"
    for rule in contract.rules:
        yield f"- rule `{rule.name}`: {_text(rule.message)}"
    yield ""
    yield from _columns(contract)


def _beside(table: str, contract: Contract) -> Iterator[str]:
    """A table that Python writes into the lake, from what dbt has built."""
    yield f"### {table}"
    yield ""
    yield contract.grain
    yield ""
    yield f"- key: {_code(contract.key)}"
    yield ""
    yield from _columns(contract)


def _columns(contract: Contract) -> Iterator[str]:
    rows = (
        (
            f"`{column.name}`",
            DUCKDB_TYPES[column.type].lower(),
            "yes" if column.nullable else "",
            _text(column.description) + (f" One of {_code(column.accepted)}." if column.accepted else ""),
            column.pii or "",
        )
        for column in contract.columns
    )
    yield from _table(("column", "type", "null", "meaning", "PII"), rows)


def _model(manifest: Node, model: Node, tests: Sequence[Node]) -> Iterator[str]:
    meta = model["config"]["meta"]
    owner = manifest["groups"][f"group.cartograph.{model['group']}"]["owner"]["name"]
    yield f"### {model['name']}"
    yield ""
    yield _text(model["description"])
    yield ""
    yield f"- owner: {owner}; domain: {meta['domain']}"
    yield f"- {_materialised(model)}"
    if is_mart(model):
        yield f"- key: {_code(key_of(model))}"
    if above := dict.fromkeys(_upstream(manifest, node) for node in model["depends_on"].get("nodes", ())):
        yield f"- made of {', '.join(above)}"
    if whole := [_test(test) for test in tests if not test.get("column_name")]:
        yield f"- tests: {', '.join(whole)}"
    yield ""
    rows = (
        (
            f"`{column['name']}`",
            column["data_type"] or "",
            "" if any(c["type"] == "not_null" for c in column["constraints"]) or _is_tested(tests, column) else "yes",
            _text(column["description"]),
            column_pii(column) or "",
            ", ".join(_test(t) for t in tests if t.get("column_name") == column["name"] and _kind(t) != "not_null"),
        )
        for column in model["columns"].values()
    )
    yield from _table(("column", "type", "null", "meaning", "PII", "tests"), rows)


def _is_tested(tests: Iterable[Node], column: Node) -> bool:
    return any(
        (_kind(test) == "not_null" and test.get("column_name") == column["name"])
        or (_kind(test) == "never_null" and column["name"] in test["test_metadata"]["kwargs"]["columns"])
        for test in tests
    )


def _materialised(model: Node) -> str:
    how = model["config"]["materialized"]
    if time := event_time(model):
        before, after = model["config"]["meta"].get("window_margin_days", (0, 0))
        margin = f", with {before} days before and {after} after" if before or after else ""
        return f"{how}, by windows of `{time}`{margin}"
    return f"{how}, built whole" if how == "table" else str(how)


def _upstream(manifest: Node, unique_id: str) -> str:
    """A link to what is read, or its name where it has no section, as the quarantine."""
    if unique_id in manifest["sources"]:
        source = manifest["sources"][unique_id]
        name = f"{source['schema']}/{source['name']}"
        return _link(name) if source["schema"] == "raw" else f"`{name}`"
    node = manifest["nodes"][unique_id]
    return _link(node["name"])


def _kind(test: Node) -> str:
    return str((test.get("test_metadata") or {"name": test["name"]})["name"])


def _test(test: Node) -> str:
    """A test in words, or its name and arguments where it is none of the common ones."""
    given: Mapping[str, Any] = (test.get("test_metadata") or {}).get("kwargs", {})
    given = {name: value for name, value in given.items() if name not in {"model", "column_name"}}
    kind = _kind(test)
    match kind, given:
        case "accepted_values", {"values": values}:
            return f"one of {_code(values)}"
        case "between", {"low": low, "high": high}:
            return f"{low} to {high}"
        case "relationships", {"to": to, "field": field}:
            _, model, _ = re.split("['\"]", to)
            return f"is a `{field}` of {_link(model)}"
        case _, {"columns": columns}:
            return f"{kind} ({_code(columns)})"
    arguments = ", ".join(f"{name}: `{_text(str(value))}`" for name, value in given.items())
    return f"{kind} ({arguments})" if arguments else kind


def _personal_data(marts: Iterable[Node]) -> Iterator[str]:
    rows = []
    for mart in marts:
        kinds = {column["name"]: column_pii(column) for column in mart["columns"].values()}
        if any(kinds.values()):
            columns = ", ".join(f"`{name}` ({kind})" for name, kind in kinds.items() if kind)
            rows.append((_link(mart["name"]), columns))
    yield "Marts with columns that are tagged as personal data; all others have none. Exports hold them as they are."
    yield ""
    yield from _table(("mart", "columns"), rows)


def _exposures(manifest: Node) -> Iterator[str]:
    rows = (
        (
            _text(exposure["label"] or exposure["name"]),
            exposure["type"],
            exposure["owner"]["name"],
            ", ".join(sorted(_upstream(manifest, node) for node in exposure["depends_on"]["nodes"])),
            _text(exposure["description"]),
        )
        for _, exposure in sorted(manifest["exposures"].items())
    )
    yield from _table(("reader", "type", "owner", "marts", "what it is"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |".replace("|  |", "| |").replace("|  |", "| |")


def _title(layer: str) -> str:
    return layer.capitalize()


def _link(name: str) -> str:
    """A link to the section of a dataset or model, by the anchor that GitHub gives its heading."""
    return f"[{name}](#{name.replace('/', '')})"


def _links(names: Iterable[str]) -> str:
    return ", ".join(_link(name) for name in names)


def _code(names: Iterable[Any]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _text(text: str) -> str:
    """Text in one line that a table cell holds."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(data_catalog(full_manifest()), encoding="utf-8")
