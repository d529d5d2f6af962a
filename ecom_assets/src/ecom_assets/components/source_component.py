"""What every kind of source has in common: its raw and quarantine assets, and their checks.

A new kind of source is a subclass with its attributes and a `reader`; nothing about one kind belongs here.
"""

from abc import abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from cartograph.contracts import Contract
from cartograph.erasure import ErasureError
from cartograph.lake import Lake, LakeError
from cartograph.settings import get_settings
from cartograph.shops import Shop, load_shop
from cartograph.windows import Window
from ecom_assets.components.load_checks import load_check_specs, load_checks
from ecom_assets.contracts import CONTRACTS
from ecom_assets.contracts.validation import ContractError
from ecom_assets.contracts.web import EVENTS
from ecom_assets.defs.partitions import window_partitions, windows_of
from ecom_assets.ingestion import Batch, LoadReport, load, quarantine_summary, raw_table
from ecom_assets.lineage import Origins
from ecom_assets.quality.policy import dataset_policy
from ecom_assets.sources import Source, SourceError
from ecom_assets.sources.event_log import EventLogReader, reader_of
from ecom_assets.sources.merged import MergedSource

OWNERS = ["team:data-platform"]


class SourceComponent(dg.Component, dg.Model, dg.Resolvable):
    """A source of a shop file. Subclasses say how rows are read and which technology that is."""

    datasets: dict[str, Any]

    @abstractmethod
    def reader(self, shop: Shop) -> Source:
        """The source that reads this component's datasets for `shop`."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """The technology that the UI shows on the assets."""

    def reader_beside_the_log(self, shop: Shop) -> Source:
        """The source, together with the event log where the shop takes events and this source delivers some, too."""
        reader = self.reader(shop)
        if not shop.takes_events or EVENTS.dataset not in self.datasets or isinstance(reader, EventLogReader):
            return reader
        return MergedSource(reader, [reader_of(get_settings(), shop.span)])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """What the source reads, and a raw and a quarantine asset for each dataset that it delivers."""
        shop = load_shop(get_settings())
        reader = self.reader_beside_the_log(shop)
        contracts = [contract for contract in CONTRACTS.values() if contract.dataset in self.datasets]
        origins = {name: what for contract in contracts for name, what in reader.origins(contract.dataset).items()}
        return dg.Definitions(
            assets=[
                *(origin_asset(name, what, self.kind) for name, what in origins.items()),
                *(raw_asset(contract, reader, shop, self.kind) for contract in contracts),
                *(quarantine_asset(contract) for contract in contracts),
            ]
        )


def origin_key(name: str) -> dg.AssetKey:
    """The key of what a source reads: a set of files, a table."""
    return dg.AssetKey(["source", name])


def origin_asset(name: str, what: str, kind: str) -> dg.AssetSpec:
    """The external asset `source/<name>`: where lineage begins; Cartograph reads it and never writes it."""
    return dg.AssetSpec(
        origin_key(name), description=what, group_name="source", kinds={kind}, owners=OWNERS, tags={"domain": "source"}
    )


def raw_asset(contract: Contract, reader: Source, shop: Shop, kind: str) -> dg.AssetsDefinition:
    """The asset `raw/<dataset>`: a window of rows that keep the contract, in the lake."""
    key = dg.AssetKey(["raw", contract.dataset])
    policy = dataset_policy(shop.quality, contract.dataset)

    @dg.asset(
        key=key,
        description=f"{contract.grain} As delivered by the shop's source, held against its contract.",
        group_name="raw",
        kinds={kind, "iceberg"},
        owners=OWNERS,
        tags={"domain": "sales", **({"pii": "true"} if any(column.pii for column in contract.columns) else {})},
        metadata={"dagster/column_schema": column_schema(contract), "dagster/table_name": raw_table(contract.dataset)},
        partitions_def=window_partitions(),
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[
            *map(origin_key, sorted(reader.origins(contract.dataset))),
            *(
                dg.AssetDep(["raw", dataset], partition_mapping=dg.AllPartitionMapping())
                for dataset in sorted({r.dataset for r in contract.references} & shop.datasets)
            ),
        ],
        check_specs=load_check_specs(contract),
    )
    def _raw(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        settings, windows = get_settings(), windows_of(context)
        lake = Lake.from_settings(settings)
        try:
            report = load(
                lake,
                reader,
                contract,
                windows,
                shop_window=shop.span,
                grain=settings.partition_grain,
                batch=Batch(ingested_at=datetime.now(UTC), batch_id=context.run_id),
                late_limit=timedelta(hours=settings.late_limit_hours),
            )
            lineage = column_lineage(contract, reader.column_origins(contract.dataset))
        except (SourceError, ContractError, LakeError, ErasureError) as mistake:
            raise dg.Failure(description=str(mistake), allow_retries=False) from mistake
        yield dg.MaterializeResult(metadata=load_metadata(report) | {"dagster/column_lineage": lineage})
        span = Window(windows[0].start, windows[-1].end)
        yield from load_checks(report, lake, contract, span, shop.span, settings.quarantine_limit_pct, policy)

    return _raw


def quarantine_asset(contract: Contract) -> dg.AssetsDefinition:
    """The asset `quarantine/<dataset>`: how many rows broke the contract, why, and an example of each reason."""

    @dg.asset(
        key=["quarantine", contract.dataset],
        description=f"Rows of {contract.dataset} that broke the contract, by reason; the rows are in the lake.",
        group_name="quarantine",
        kinds={"iceberg"},
        owners=OWNERS,
        tags={"domain": "quality"},
        deps=[dg.AssetDep(["raw", contract.dataset], partition_mapping=dg.AllPartitionMapping())],
    )
    def _quarantine() -> dg.MaterializeResult[None]:
        summary = quarantine_summary(Lake.from_settings(get_settings()), contract.dataset).to_pylist()
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": sum(row["row_count"] for row in summary),
                "reasons": dg.MetadataValue.md(_markdown_table(summary)) if summary else "No row is quarantined.",
            }
        )

    return _quarantine


def column_schema(contract: Contract) -> dg.TableSchema:
    """The contract's columns as the UI shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=contract.key == (column.name,)),
                tags={"pii": column.pii} if column.pii else {},
            )
            for column in contract.columns
        ]
    )


def column_lineage(contract: Contract, origins: Origins) -> dg.TableColumnLineage:
    """What the contract's columns are made of, as the UI shows it."""
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(origin_key(origin), column) for origin, column in origins.get(name, ())]
            for name in contract.names
        }
    )


def load_metadata(report: LoadReport) -> dict[str, Any]:
    """A load's figures as asset metadata."""
    return {
        "dagster/row_count": report.stored,
        "delivered_rows": report.counts.delivered,
        "accepted_rows": report.counts.accepted,
        "merged_duplicates": report.counts.merged,
        "kept_rows": report.kept,
        "quarantined_rows": report.counts.quarantined.total(),
        "quarantined_by_reason": dict(report.counts.quarantined),
        "extra_columns": sorted(report.counts.extra_columns),
        "snapshot_id": str(report.snapshot_id),
    }


def _markdown_table(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(str(row[name]).replace("|", "\\|") for name in names) + " |" for row in rows]
    return "\n".join(lines)
