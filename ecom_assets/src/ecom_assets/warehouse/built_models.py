"""What dbt has built: each model's columns as the warehouse has them, its rows, and what its columns are made of.

Read once for all models after dbt has ended, from the warehouse and from the SQL that dbt compiled.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from ecom_assets.lineage import Origins, select_origins


@dataclass(frozen=True)
class BuiltModel:
    """A model or seed: its columns' types, its rows (None for a view), and its columns' origins by dbt's unique ids."""

    types: Mapping[str, str]
    rows: int | None
    origins: Origins


def built_models(
    connection: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any], built: Collection[str]
) -> dict[str, BuiltModel]:
    """The models and seeds with the unique ids `built`, of the run whose manifest this is."""
    nodes = {**manifest["nodes"], **manifest["sources"]}
    names = {unique_id: _plain(node["relation_name"]) for unique_id, node in nodes.items() if node.get("relation_name")}
    types = _types(connection)
    stored = [unique_id for unique_id in built if nodes[unique_id]["config"]["materialized"] != "view"]
    rows = _rows(connection, {unique_id: nodes[unique_id]["relation_name"] for unique_id in stored})
    return {
        unique_id: BuiltModel(types[names[unique_id]], rows.get(unique_id), _origins(nodes[unique_id], names, types))
        for unique_id in built
    }


def _origins(node: Mapping[str, Any], names: Mapping[str, str], types: Mapping[str, Mapping[str, str]]) -> Origins:
    """What a node's columns are made of; nothing for a seed."""
    parents = {names[parent]: parent for parent in node["depends_on"].get("nodes", ())}
    if not parents:
        return {}
    found = select_origins(node["compiled_code"], {}, {name: tuple(types[name]) for name in parents})
    return {column: tuple((parents[table], name) for table, name in origins) for column, origins in found.items()}


def _types(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """The columns' types by table, `database.schema.table`, in the tables' order."""
    types: dict[str, dict[str, str]] = {}
    rows = connection.execute(
        """
        SELECT database_name || '.' || schema_name || '.' || table_name, column_name, data_type
        FROM duckdb_columns() WHERE NOT internal ORDER BY schema_name, table_name, column_index
        """
    ).fetchall()
    for table, column, data_type in rows:
        types.setdefault(table, {})[column] = data_type.lower()
    return types


def _rows(connection: duckdb.DuckDBPyConnection, relations: Mapping[str, str]) -> dict[str, int]:
    return {
        unique_id: int(connection.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0])
        for unique_id, relation in relations.items()
    }


def _plain(relation: str) -> str:
    return relation.replace('"', "")
