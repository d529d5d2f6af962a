"""`cartograph shops`: which shops there are, and what is right and wrong with what a shop's sources deliver."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cartograph.cli.console import count, output
from cartograph.cli.export import loaded_tables
from cartograph.contracts import with_provenance
from cartograph.lake import Lake, SchemaConflict
from cartograph.settings import Settings, load_settings
from cartograph.shops import ShopError, list_shops, load_shop
from cartograph.words import counted

if TYPE_CHECKING:
    from ecom_assets.sources.shop_check import DatasetReport, ShopReport

app = typer.Typer(help="Shops and what their sources deliver.", no_args_is_help=True)

EXIT_FAULTY = 1
ShopName = Annotated[str | None, typer.Argument(help="The shop; by default CARTOGRAPH_SHOP.")]


@app.command("list")
def show_shops() -> None:
    """List the shops; the chosen one is marked."""
    settings = load_settings()
    names = list_shops(settings)
    if not names:
        raise ShopError(f"{settings.resolved_shops_dir} has no shop file. CARTOGRAPH_SHOPS_DIR says where to look.")
    for name in names:
        mark = "→" if name == settings.shop else " "
        try:
            shop = load_shop(settings, name)
        except ShopError as mistake:
            output.print(f"{mark} {name:<20} [yellow]{escape(str(mistake))}[/]")
        else:
            output.print(f"{mark} {name:<20} {shop.title}, {shop.start} to {shop.end or 'open'}")


@app.command()
def check(name: ShopName = None) -> None:
    """Read everything that the shop's sources deliver, hold it against the contracts and load nothing."""
    from ecom_assets.defs.ingestion.shop_sources import shop_readers
    from ecom_assets.quality.policy import quarantine_limit
    from ecom_assets.sources.shop_check import check_shop
    from ecom_assets.warehouse.dbt_vars import require_known_vars

    settings = load_settings(**({"shop": name} if name else {}))
    shop = load_shop(settings)
    readers = shop_readers(shop)
    ended, first = (
        shop.windows(settings.partition_grain, datetime.now(UTC)),
        shop.first_window(settings.partition_grain),
    )
    with output.status("reading"):
        report = check_shop(shop, readers, ended or [first], timedelta(hours=settings.late_limit_hours))
    for dataset in report.datasets:
        _print_dataset(dataset)
    for absent in report.absent:
        what = f"switches off {absent.enables}" if absent.enables else "is required"
        output.print(f"[yellow]–[/] [bold]{absent.dataset}[/] is not delivered, which {what}")
    limit = partial(quarantine_limit, shop.quality, settings.quarantine_limit_pct)
    obstacles = [*report.obstacles(limit), *lake_conflicts(settings, report)]
    if not ended:
        obstacles.append(
            f"{shop.name} has no ended {settings.partition_grain} partition yet: its first, which was read here, "
            f"ends on {first.end:%Y-%m-%d}"
        )
    try:
        require_known_vars(shop)
    except ShopError as mistake:
        obstacles.append(str(mistake).rstrip("."))
    for obstacle in obstacles:
        output.print(f"[red]A run would stop: {escape(obstacle)}.[/]")
    if obstacles:
        raise typer.Exit(EXIT_FAULTY)
    left_out = {file.name for dataset in report.datasets for file in dataset.unreadable}
    output.print("A run would go on" + (f", without {len(left_out)} unreadable." if left_out else "."))
    output.print("[dim]Whether its days are as usual and its tables tie out, the checks of a run say.[/]")


def lake_conflicts(settings: Settings, report: ShopReport) -> list[str]:
    """What a run would stop at because the lake was loaded otherwise; none where nothing was loaded yet."""
    if not settings.shop_home.is_dir() and not settings.catalog_uri:
        return []
    from ecom_assets.contracts import CONTRACTS
    from ecom_assets.ingestion import lost_columns

    lake, conflicts = Lake.from_settings(settings), []
    loaded = loaded_tables(lake)
    for dataset in report.datasets:
        table, contract = f"raw.{dataset.dataset}", CONTRACTS[dataset.dataset]
        try:
            lake.require_compatible(table, with_provenance(contract), settings.partition_grain)
        except SchemaConflict as conflict:
            conflicts.append(str(conflict).rstrip("."))
        else:
            lost = lost_columns(lake, contract, dataset.counts.absent_columns) if table in loaded else ()
            conflicts += [f"{column} of {dataset.dataset} was loaded and is not delivered any more" for column in lost]
    return conflicts


def _print_dataset(report: DatasetReport) -> None:
    mark = "[green]✓[/]" if report.is_ok else "[red]✗[/]" if report.error else "[yellow]![/]"
    counts = report.counts
    output.print(
        f"{mark} [bold]{report.dataset}[/] from {report.source}: {counted(counts.delivered, 'row')} read, "
        f"{count(counts.accepted)} accepted, {count(counts.merged)} merged, "
        f"{count(counts.quarantined.total())} to the quarantine"
    )
    if report.error:
        output.print(f"    [red]{escape(report.error)}[/]")
        return
    mapped = [column.name for column in report.columns if column.is_mapped]
    unmapped = [column.name for column in report.columns if not column.is_mapped]
    output.print(f"    mapped    {', '.join(mapped)}")
    if unmapped:
        output.print(f"    left out  {', '.join(unmapped)}")
    if counts.extra_columns:
        output.print(f"    ignored   {', '.join(counts.extra_columns)}")
    for file in report.unreadable:
        output.print(f"    [red]unreadable[/] {escape(f'{file.name}: {file.reason}. {file.cure}')}")
    for violation in report.violations:
        output.print(
            f"    [yellow]{count(violation.rows)} × {violation.reason}[/] {escape(violation.message)}\n"
            f"        {escape(f'{violation.example_source}: {violation.example}')}"
        )
    _print_sample(report.sample, mapped)


def _print_sample(rows: tuple[dict[str, object], ...], columns: list[str]) -> None:
    shown = [name for name in columns if any(row.get(name) is not None for row in rows)]
    if not rows or not shown:
        return
    table = Table(*shown, header_style="dim", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(escape("" if row.get(name) is None else str(row[name])) for name in shown))
    output.print(table)
