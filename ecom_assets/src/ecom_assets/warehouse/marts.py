"""The marts of a parsed dbt project: where each stands in the warehouse, and the contract of what is published of it.

Read from dbt's manifest, so that the YAML beside the models is the only place where a mart is described.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from cartograph.contracts import Column, ColumnType, Contract, Pii
from cartograph.windows import Window

_TYPES: dict[str, ColumnType] = {
    "varchar": "string",
    "bigint": "bigint",
    "double precision": "double",
    "decimal(18, 2)": "money",
    "decimal(18, 4)": "price",
    "boolean": "boolean",
    "date": "date",
    "timestamptz": "timestamp",
}


_ENABLED_BY = re.compile(r"enabled=delivers\('(\w+)'\)")


class MartError(ValueError):
    """A mart's YAML does not say what publishing needs. The message names the model, the column and the cure."""


@dataclass(frozen=True)
class Mart:
    """One mart: its name, its relation in the warehouse (`schema.table`), its contract, and what it is tagged with.

    The contract's event time is the column by whose windows the mart is built; None for a mart that is built whole.
    `margin_days` says how many days before and after a window are replaced with it.
    """

    name: str
    relation: str
    contract: Contract
    domain: str
    margin_days: tuple[int, int] = (0, 0)

    def replaced(self, window: Window) -> Window:
        """What of the mart is replaced when `window` is built."""
        before, after = self.margin_days
        return Window(window.start - timedelta(days=before), window.end + timedelta(days=after))

    @property
    def table(self) -> str:
        """The lake table that it is published as."""
        return f"published.{self.name}"

    @property
    def has_pii(self) -> bool:
        """Whether a column holds personal data."""
        return any(column.pii for column in self.contract.columns)


def marts(manifest: Mapping[str, Any]) -> list[Mart]:
    """The enabled marts of a dbt manifest, by name.

    Raises:
        MartError: a column has no description, or a type that has no counterpart in a contract.
    """
    nodes = (node for node in manifest["nodes"].values() if node["resource_type"] == "model" and is_mart(node))
    return sorted((_mart(node) for node in nodes), key=lambda mart: mart.name)


def marts_enabled_by(project: Path) -> dict[str, list[str]]:
    """The marts of the dbt project in `project` that exist only where a dataset is delivered, by dataset.

    Read from the models' own `enabled=delivers('<dataset>')`, because parsing the project takes seconds.
    """
    enabled: dict[str, list[str]] = {}
    for path in sorted((project / "models" / "marts").rglob("*.sql"), key=lambda path: path.stem):
        for dataset in _ENABLED_BY.findall(path.read_text(encoding="utf-8")):
            enabled.setdefault(dataset, []).append(path.stem)
    return enabled


def is_mart(node: Mapping[str, Any]) -> bool:
    """Whether a node of a dbt manifest is a mart: it stands in the folder `marts`."""
    return bool(node["fqn"][1] == "marts")


def event_time(node: Mapping[str, Any]) -> str | None:
    """The column by whose windows a node of a dbt manifest is built; None where it is built whole."""
    column: str | None = node["config"].get("event_time")
    return column


def column_pii(column: Mapping[str, Any]) -> Pii | None:
    """The kind of personal data that a column of a dbt manifest is tagged with."""
    kind: Pii | None = column["config"]["meta"].get("pii")
    return kind


def key_of(node: Mapping[str, Any]) -> tuple[str, ...]:
    """The key of a mart of a dbt manifest: what `meta.key` lists, or else the first column.

    A `unique` or `unique_combination` test holds it.
    """
    key: tuple[str, ...] = tuple(node["config"]["meta"].get("key", [next(iter(node["columns"]))]))
    return key


def _mart(node: Mapping[str, Any]) -> Mart:
    name = node["name"]
    columns = tuple(_column(name, column) for column in node["columns"].values())
    contract = Contract(
        dataset=name,
        grain=node["description"],
        columns=columns,
        key=key_of(node),
        event_time=event_time(node),
    )
    meta = node["config"]["meta"]
    before, after = meta.get("window_margin_days", (0, 0))
    return Mart(name, f"{node['schema']}.{node['alias']}", contract, meta["domain"], (before, after))


def _column(model: str, column: Mapping[str, Any]) -> Column:
    name, data_type = column["name"], column["data_type"]
    if data_type not in _TYPES:
        raise MartError(
            f"{model}.{name} has the data_type {data_type!r}, which cannot be published. "
            f"Use one of: {', '.join(_TYPES)}."
        )
    if not column["description"]:
        raise MartError(f"{model}.{name} has no description. Give it one in the model's YAML.")
    return Column(
        name=name,
        type=_TYPES[data_type],
        description=column["description"],
        nullable=not any(constraint["type"] == "not_null" for constraint in column["constraints"]),
        pii=column_pii(column),
    )
