"""What every kind of source has in common: its raw and quarantine assets, and their checks.

A new kind of source is a subclass with its attributes and a `reader`; nothing about one kind belongs here.
"""

from abc import abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from cartograph.contracts import Contract
from cartograph.lake import Lake, LakeError
from cartograph.settings import get_settings
from cartograph.shops import Shop, load_shop
from cartograph.trust.gate import looked_at
from cartograph.windows import Window
from ecom_assets.contracts import CONTRACTS
from ecom_assets.contracts.validation import ContractError
from ecom_assets.defs.partitions import window_partitions, windows_of
from ecom_assets.ingestion import Batch, LoadReport, load, quarantine_summary, raw_table
from ecom_assets.lineage import Origins
from ecom_assets.sources import Source, SourceError

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

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """What the source reads, and a raw and a quarantine asset for each dataset that it delivers."""
        shop = load_shop(get_settings())
        unknown = sorted(set(self.datasets) - set(CONTRACTS))
        if unknown:
            raise dg.DagsterInvalidDefinitionError(
                f"{shop.file} delivers unknown datasets: {', '.join(unknown)}. Known datasets: {', '.join(CONTRACTS)}."
            )
        reader = self.reader(shop)
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
        check_specs=[
            dg.AssetCheckSpec(
                "rows_accounted_for",
                asset=key,
                blocking=True,
                description="Each delivered row is in the lake, merged as an exact duplicate, or in the quarantine.",
            ),
            dg.AssetCheckSpec(
                "quarantine_within_limit",
                asset=key,
                blocking=True,
                description="The quarantined share is at most CARTOGRAPH_QUARANTINE_LIMIT_PCT.",
            ),
            dg.AssetCheckSpec(
                "everything_readable",
                asset=key,
                description="No file or page of the source was left out as unreadable.",
            ),
            dg.AssetCheckSpec(
                "nothing_vanished",
                asset=key,
                description="The lake holds at least as many rows of the loaded partitions as before.",
            ),
        ],
    )
    def _raw(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        settings, windows = get_settings(), windows_of(context)
        try:
            report = load(
                Lake.from_settings(settings),
                reader,
                contract,
                windows,
                shop_window=shop.span,
                grain=settings.partition_grain,
                batch=Batch(ingested_at=datetime.now(UTC), batch_id=context.run_id),
            )
            lineage = column_lineage(contract, reader.column_origins(contract.dataset))
        except (SourceError, ContractError, LakeError) as mistake:
            raise dg.Failure(description=str(mistake), allow_retries=False) from mistake
        yield dg.MaterializeResult(metadata=load_metadata(report) | {"dagster/column_lineage": lineage})
        span = Window(windows[0].start, windows[-1].end)
        yield from load_checks(report, contract.dataset, settings.quarantine_limit_pct, span)

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
        "ignored_columns": sorted(report.counts.extra_columns),
        "snapshot_id": str(report.snapshot_id),
    }


def load_checks(report: LoadReport, dataset: str, limit_pct: float, span: Window) -> Iterator[dg.AssetCheckResult]:
    """Whether all rows of `span` are accounted for, few are quarantined and everything could be read."""
    where = looked_at(span)
    yield dg.AssetCheckResult(
        check_name="rows_accounted_for",
        passed=report.is_accounted_for,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            **where,
            "delivered": report.counts.delivered,
            "accepted": report.counts.accepted,
            "merged": report.counts.merged,
            "quarantined": report.counts.quarantined.total(),
            "kept": report.kept,
            "stored": report.stored,
        },
    )
    within = report.counts.quarantined_pct <= limit_pct
    yield dg.AssetCheckResult(
        check_name="quarantine_within_limit",
        passed=within,
        severity=dg.AssetCheckSeverity.ERROR,
        description=None if within else too_many_quarantined(report, dataset, limit_pct),
        metadata={
            **where,
            "quarantined_pct": report.counts.quarantined_pct,
            "limit_pct": limit_pct,
            "reasons": dict(report.counts.quarantined),
        },
    )
    yield dg.AssetCheckResult(
        check_name="everything_readable",
        passed=not report.unreadable,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(
            [f"{u.name}: {u.reason}. {u.cure}" for u in report.unreadable]
            + ([f"{report.kept:,} rows that were loaded earlier and are not delivered now stay"] if report.kept else [])
        )
        or None,
        metadata={**where, "unreadable": [u.name for u in report.unreadable]},
    )
    yield dg.AssetCheckResult(
        check_name="nothing_vanished",
        passed=not report.vanished,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"The source no longer delivers {report.vanished:,} rows of {dataset} that were loaded before; they are "
            "gone from the lake's current snapshot. If that is not meant, bring the files back and run again."
            if report.vanished
            else None
        ),
        metadata={**where, "vanished": report.vanished},
    )


def too_many_quarantined(report: LoadReport, dataset: str, limit_pct: float) -> str:
    """What a person needs to know when too many rows broke the contract: how many, why, where they are, what to do."""
    reasons = report.counts.quarantined.most_common(3)
    orphans = "Load the parents' partitions first. " if reasons[0][0].startswith("orphan:") else ""
    return (
        f"{report.counts.quarantined.total()} of {report.counts.delivered} rows of {dataset} broke the contract "
        f"({report.counts.quarantined_pct:.1f} %, CARTOGRAPH_QUARANTINE_LIMIT_PCT allows {limit_pct:g}): "
        f"{', '.join(f'{reason} ({rows})' for reason, rows in reasons)}. {orphans}"
        f"`cartograph shops check` shows examples with their files; all rows are in the lake's quarantine.{dataset}. "
        "Mend the source or its mapping and run again."
    )


def _markdown_table(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(str(row[name]).replace("|", "\\|") for name in names) + " |" for row in rows]
    return "\n".join(lines)
