"""What Dagster tells of a dbt node: its key, group, owners, tags and partitions, all read from the project's own YAML,
and, once it is built, its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator

from cartograph.trust.asset_graph import LOOKS_UP
from ecom_assets.warehouse.built_models import BuiltModel
from ecom_assets.warehouse.marts import column_pii, event_time


class WarehouseTranslator(DagsterDbtTranslator):
    """Keys and groups follow the layers; what has an `event_time` is partitioned by the shop's windows."""

    def __init__(self, partitions: dg.TimeWindowPartitionsDefinition, docs_url: str):
        super().__init__()
        self._partitions = partitions
        self._docs_url = docs_url

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """`<layer>/<model>`; a source is the asset that fills its table in the lake."""
        return _key(dbt_resource_props)

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The layer."""
        return _layer(dbt_resource_props)

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The description as it stands in the YAML, without the SQL that Dagster would add."""
        return str(dbt_resource_props["description"])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str] | None:
        """The team that owns the dbt group; Dagster passes the group's own entry under `group`."""
        group = dbt_resource_props.get("group")
        return [f"team:{group['owner']['name']}"] if isinstance(group, Mapping) else None

    def get_tags(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, str]:
        """The domain, and whether a column is tagged as personal data."""
        domain = dbt_resource_props["config"].get("meta", {}).get("domain")
        pii = any(column_pii(column) for column in dbt_resource_props["columns"].values())
        return {**({"domain": domain} if domain else {}), **({"pii": "true"} if pii else {})}

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """What dagster-dbt tells, the node's page in dbt's documentation, and of which marts it reads other partitions.

        Those stand in the model's `meta.looks_up`.
        """
        page = f"{self._docs_url}#!/{dbt_resource_props['resource_type']}/{dbt_resource_props['unique_id']}"
        metadata = {**super().get_metadata(dbt_resource_props), "dbt_docs": dg.MetadataValue.url(page)}
        looked_up = dbt_resource_props["config"].get("meta", {}).get("looks_up", ())
        return {**metadata, **({LOOKS_UP: [f"marts/{mart}" for mart in looked_up]} if looked_up else {})}

    def get_partitions_def(self, dbt_resource_props: Mapping[str, Any]) -> dg.PartitionsDefinition | None:
        """The shop's windows for a model with an event time; none for one that is built whole."""
        return self._partitions if event_time(dbt_resource_props) else None


def model_metadata(manifest: Mapping[str, Any], unique_id: str, built: BuiltModel) -> dict[str, Any]:
    """What a materialisation tells of a model that was built: its columns, their lineage, and its rows."""
    nodes = {**manifest["sources"], **manifest["nodes"]}
    told = nodes[unique_id]["columns"]
    columns = [_column(name, data_type, told.get(name)) for name, data_type in built.types.items()]
    lineage = {
        column: [dg.TableColumnDep(_key(nodes[parent]), name) for parent, name in origins]
        for column, origins in built.origins.items()
    }
    return {
        "dagster/column_schema": dg.TableSchema(columns=columns),
        **({"dagster/column_lineage": dg.TableColumnLineage(lineage)} if lineage else {}),
        **({"dagster/row_count": built.rows} if built.rows is not None else {}),
    }


def _column(name: str, data_type: str, told: Mapping[str, Any] | None) -> dg.TableColumn:
    if told is None:
        return dg.TableColumn(name, data_type)
    pii = column_pii(told)
    required = any(constraint["type"] == "not_null" for constraint in told["constraints"])
    return dg.TableColumn(
        name,
        data_type,
        description=told["description"],
        constraints=dg.TableColumnConstraints(nullable=not required),
        tags={"pii": pii} if pii else {},
    )


def _key(node: Mapping[str, Any]) -> dg.AssetKey:
    return dg.AssetKey([_layer(node), node["name"]])


def _layer(node: Mapping[str, Any]) -> str:
    # A source's and a seed's layer is its schema; a model's is its folder.
    return str(node["fqn"][1] if node["resource_type"] == "model" else node["schema"])
