"""`cartograph erase`: takes customers out of everything that the shop's folder holds, and proves that they are gone.

The order of the steps, which can be stopped anywhere and begun again, and what is told of them. What is taken out of
rows is `ecom_assets.erasure`; the register, the search and the blanking of logs are `cartograph.erasure`.
"""

from __future__ import annotations

import getpass
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import dagster as dg
import typer

from cartograph.cli import EXIT_INTERRUPTED
from cartograph.cli.console import count, names_and_numbers, output, say, say_error, size
from cartograph.cli.instance import UNFINISHED, close_dead_runs, only_run, open_instance, prepare_home
from cartograph.cli.room import local_folders
from cartograph.cli.run import EXIT_FAILED, run
from cartograph.contracts import Contract
from cartograph.erasure import (
    ERASED,
    Erasure,
    ErasureError,
    Register,
    Scan,
    Wanted,
    blank_texts,
    new_pseudonym,
    scan,
    sought,
    table_places,
)
from cartograph.erasure.sought import Sought
from cartograph.lake import Lake
from cartograph.releases import open_store
from cartograph.releases.order_history import key_of
from cartograph.releases.renaming import rename_customers
from cartograph.settings import Settings, load_settings
from cartograph.shops import load_shop
from cartograph.trust.columns import Column, Dependencies, made_of, recorded_lineage
from cartograph.words import counted

if TYPE_CHECKING:
    from ecom_assets.personal import Personal

MADE_OF_RAW = 'not group:"raw"'
"""What is made anew. Not raw: its rows were changed where they are, and a source may have withdrawn its old files."""

EVENT_LOG = "event log"
"""What the register calls the event log, beside the tables of the lake."""
SHOWN = 20
"""At most so many files that still hold the customer are named; the rest is counted."""


class Subject(NamedTuple):
    """A customer, their entry in the register, and what must not be found of them, as long as it is known."""

    customer: str
    erasure: Erasure
    sought: Sought


def erase(
    customer: Annotated[list[str] | None, typer.Option(help="The customer's id; again for more customers.")] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why, e.g. the request's number; it must not name anybody.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List who was erased, by pseudonym, when and why.")] = False,
) -> None:
    """Erase customers: out of lake, event log, warehouse, marts, features, all releases and logs.

    Their orders stay, under a pseudonym, so that all totals do. Afterwards every file of the shop's folder is searched
    for them, and a later load of their rows brings nothing back. Stopped, it goes on when it is called again.
    """
    settings = load_settings()
    load_shop(settings)
    if listed:
        show(Register.of(settings))
        return
    if not customer:
        raise typer.BadParameter("--customer takes the id of whom to erase.")
    subjects = begin(settings, list(dict.fromkeys(customer)), reason)
    waiting = [subject for subject in subjects if subject.erasure.finished_at is None]
    for subject in subjects:
        if subject not in waiting:
            say(f"{subject.customer} was erased on {subject.erasure.finished_at:%Y-%m-%d}; searching again")
    found = None if waiting else search(settings, subjects)
    if found is None or found.hits:
        take_out(settings, subjects)
        found = search(settings, subjects)
    conclude(settings, subjects, found)


def show(register: Register) -> None:
    """Print the register."""
    if not register.entries:
        output.print("Nobody was erased.")
        return
    table = names_and_numbers("customer now", "begun (UTC)", "finished (UTC)", "by", "reason", numbers=("rows",))
    for entry in register.entries:
        finished = f"{entry.finished_at:%Y-%m-%d %H:%M}" if entry.finished_at else "not yet: call it again"
        rows = count(sum(entry.rows.values()))
        table.add_row(entry.pseudonym, f"{entry.begun_at:%Y-%m-%d %H:%M}", finished, entry.by, entry.reason, rows)
    output.print(table)


def begin(settings: Settings, customers: Sequence[str], reason: str | None) -> list[Subject]:
    """Find what is known of the customers, and enter those in the register who are not in it yet.

    Raises:
        ErasureError: a customer is unknown, the reason is missing or names somebody, or a run is at work.
    """
    from ecom_assets.erasure import events_of
    from ecom_assets.personal import near_customers, personal_values, rows_of, totals

    if not settings.shop_home.is_dir():
        raise ErasureError(f"{settings.shop} has loaded nothing yet: there is nobody to erase.")
    prepare_home(settings)
    with only_run(settings), open_instance(settings) as instance:
        close_dead_runs(instance, settings)
        require_quiet(instance)
        lake, register, lineage = Lake.from_settings(settings), Register.of(settings), recorded_lineage(instance)
        subjects, new = [], []
        with output.status("looking for the customer's rows"):
            for customer in customers:
                known = register.find(customer)
                names = [customer, known.pseudonym] if known else [customer]
                rows = rows_of(lake, names)
                if in_log := events_of(settings.events_dir, names):
                    rows[EVENT_LOG] = in_log
                if known is None and (not rows or customer.startswith(ERASED)):
                    near = ", ".join(near_customers(lake, customer))
                    raise ErasureError(
                        f"{settings.shop} has no customer {customer!r}. "
                        + (f"The nearest: {near}." if near else "`cartograph run` loads customers.")
                    )
                values = personal_values(lake, names)
                if known is None:
                    known = Erasure(
                        customer=register.digest(customer),
                        pseudonym=new_pseudonym(),
                        identifiers=frozenset(register.digest(value.value) for value in values if value.is_identifier),
                        reason=checked_reason(reason, customers, [value.value for value in values]),
                        by=getpass.getuser(),
                        begun_at=datetime.now(UTC),
                        rows=rows,
                        totals=totals(lake),
                    )
                    new.append(known)
                found = Sought(
                    identifiers=frozenset(value.value for value in values if value.is_identifier),
                    cells=wanted_cells(lake, lineage, names, values),
                )
                if earlier := sought.kept(settings, known.pseudonym):
                    found = found.with_those_of(earlier)
                subjects.append(Subject(customer, known, found))
        for subject in subjects:
            if subject.erasure.finished_at is None:
                sought.keep(settings, subject.erasure.pseudonym, subject.sought)
        for entry in new:  # Once all are known to be right: from here on, no load brings any of them back.
            register.record(entry)
    for subject in subjects:
        if subject.erasure in new:
            rows = subject.erasure.rows
            places = counted(len(rows.keys() - {EVENT_LOG}), "table") + " of the lake"
            places += " and the event log" if EVENT_LOG in rows else ""
            say(f"{subject.customer}: {counted(sum(rows.values()), 'row')} in {places}")
    return subjects


def require_quiet(instance: dg.DagsterInstance) -> None:
    """Raise ErasureError where Dagster's UI or daemon runs something on the shop: it might read what is taken away."""
    at_work = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))
    if at_work:
        raise ErasureError(
            f"At work in the Dagster UI: {counted(len(at_work), 'run')} ({', '.join(run.run_id for run in at_work)}). "
            "Wait, or end it in the UI, and call this again."
        )


def checked_reason(reason: str | None, customers: Sequence[str], values: Sequence[str]) -> str:
    """The reason, which stays in the register for ever.

    Raises:
        ErasureError: it is missing, too short or long, or names whom it is about.
    """
    if reason is None or not 3 <= len(reason) <= 500:
        raise ErasureError(
            "--reason takes 3 to 500 characters, e.g. the number of the request; it stays in the register."
        )
    if any(len(value) > 2 and value.casefold() in reason.casefold() for value in (*customers, *values)):
        raise ErasureError("--reason names the customer, and would stay in the register: say it by a number.")
    return reason


def wanted_cells(
    lake: Lake, lineage: Dependencies, names: Sequence[str], values: Sequence[Personal]
) -> dict[str, frozenset[str]]:
    """By name, the columns that must not hold a value: those that are made of the raw columns that the customer is in.

    With the keys that the warehouse made of the customer's id, by which the customer would be found as well.
    """
    from ecom_assets.contracts import CONTRACTS
    from ecom_assets.erasure import CUSTOMER
    from ecom_assets.personal import derived_keys

    cells: dict[str, set[str]] = {}

    def want(column: Column, value: str) -> None:
        for _, name in made_of(lineage, [column]):
            cells.setdefault(name, set()).add(value)

    for value in values:
        want((f"raw/{value.dataset}", value.column), value.value)
    for dataset in (name for name, contract in CONTRACTS.items() if CUSTOMER in contract.names):
        want((f"raw/{dataset}", CUSTOMER), names[0])
    published: dict[str, set[str]] = {}
    for asset, name in made_of(lineage, [("raw/customers", CUSTOMER)]):
        if asset.startswith("published/"):
            published.setdefault(asset.replace("/", "."), set()).add(name)
    for name, keys in derived_keys(lake, names[0], published).items():
        cells.setdefault(name, set()).update(keys)
    return {name: frozenset(value for value in found if not value.startswith(ERASED)) for name, found in cells.items()}


def take_out(settings: Settings, subjects: Sequence[Subject]) -> None:
    """Change the rows, make anew what is made of them, and drop what still has the old ones."""
    from api.services.journal import forget
    from ecom_assets.erasure import anonymise_lake, anonymise_log
    from ecom_assets.warehouse.dbt_project import dbt_home

    lake, wanted = Lake.from_settings(settings), wanted_of(subjects)
    with only_run(settings):
        with output.status("rewriting the lake"):
            touched = anonymise_lake(lake, personal_contracts())
        say(f"[green]✓[/] lake: {counted(len(touched), 'table')} rewritten")
        segments = anonymise_log(lake)
        say(f"[green]✓[/] event log: {counted(len(segments), 'segment')} rewritten")
        for left in settings.shop_home.glob("spill-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        was_built = settings.warehouse_path.is_file() or any(
            t.identifier.startswith("published.") for t in lake.tables()
        )
        for path in (settings.warehouse_path, Path(f"{settings.warehouse_path}.wal")):
            path.unlink(missing_ok=True)  # a database file keeps what was deleted in it
        for folder in (dbt_home(settings) / "run", dbt_home(settings) / "logs"):
            shutil.rmtree(folder, ignore_errors=True)
    if was_built:
        make_anew(settings)
    with only_run(settings):
        with output.status("expiring snapshots"):
            for info in lake.tables():
                lake.forget(info.identifier, now=datetime.now(UTC))
        say("[green]✓[/] lake: earlier snapshots expired, their files deleted")
        store, names = open_store(settings), {s.customer: s.erasure.pseudonym for s in subjects}
        made = store.remake(partial(rename_customers, names=names))
        say(f"[green]✓[/] releases: {count(len(made))} made anew without them")
        told = forget(settings.online_path, [key_of("customer", subject.customer) for subject in subjects])
        say(f"[green]✓[/] online state: {counted(told, 'fact')} taken out; restart a service that runs")
        lake.close_connections()
        blanked = list(blank_texts(settings.shop_home, wanted, kept=not_texts(settings)))
        say(f"[green]✓[/] logs and run histories: {counted(len(blanked), 'file')} blanked")


def make_anew(settings: Settings) -> None:
    """Run all that is made of the raw datasets, over the partitions that were loaded.

    A run that fails says why, and keeps nobody from being erased: the ids are gone from every table by then, and
    whether something else of them stands in one that was not made anew, the search tells.

    Raises:
        Exit: it was interrupted.
    """
    with open_instance(settings) as instance:
        loaded = sorted(instance.get_materialized_partitions(dg.AssetKey(["raw", "orders"])))
    first, last = (datetime.fromisoformat(loaded[end]) if loaded else None for end in (0, -1))
    say("making anew what is made of these rows:")
    try:
        run(shop=settings.shop, start=first, end=last, select=MADE_OF_RAW, override_by=None, override_reason=None)
    except typer.Exit as left:
        if left.exit_code == EXIT_INTERRUPTED:
            say_error(
                "Not erased yet.", "The raw rows are changed; what is made of them is not. Call it again to go on."
            )
            raise
        say("[yellow]![/] not all was made anew, for the reason above; what was not is as it was, without their ids")


def personal_contracts() -> dict[str, Contract]:
    """The contracts of the lake's tables that hold rows as they came, by table; all other tables are made of these."""
    from ecom_assets.contracts import CONTRACTS

    return {f"{kept}.{name}": contract for kept in ("raw", "quarantine") for name, contract in CONTRACTS.items()}


def wanted_of(subjects: Sequence[Subject]) -> Wanted:
    """What must not be found of any of them."""
    cells: dict[str, frozenset[str]] = {}
    for subject in subjects:
        for name, values in subject.sought.cells.items():
            cells[name] = cells.get(name, frozenset()) | values
    return Wanted(
        customers=frozenset(subject.customer for subject in subjects),
        identifiers=frozenset[str]().union(*(subject.sought.identifiers for subject in subjects)),
        cells=cells,
    )


def not_texts(settings: Settings) -> list[Path]:
    """The folders whose files are not to be blanked: tables, releases and events with checksums, and the register."""
    kept = (settings.shop_home / name for name in ("lake", "releases", "erasures"))
    return [*local_folders(settings)[1:], *kept, settings.events_dir]


def search(settings: Settings, subjects: Sequence[Subject]) -> Scan:
    """Look for the customers in every file; and in the tables of a lake that has none here."""
    lake, wanted = Lake.from_settings(settings), wanted_of(subjects)
    others = frozenset[str]().union(*wanted.cells.values()) - wanted.identifiers - wanted.customers
    say(
        f"searching for {counted(len(subjects), 'id')}, {count(len(wanted.identifiers))} of addresses, numbers and "
        f"devices that nobody else had, and {counted(len(others), 'more value')} in the columns made of such"
    )
    with only_run(settings), output.status("searching"):
        lake.close_connections()
        found = scan(local_folders(settings), wanted, lake.connect, apart=sought.folder_of(settings))
        if "://" in settings.resolved_lake_uri:
            with lake.connect() as connection:
                for info in lake.tables():
                    relation = f"({lake.relation_sql(info.identifier)})"
                    found.hits += [f"{info.identifier}: {p}" for p in table_places(connection, relation, wanted)]
    return found


def conclude(settings: Settings, subjects: Sequence[Subject], found: Scan) -> None:
    """Tell what was found, hold the totals against those before, and close the entries.

    Raises:
        Exit: the customer is still somewhere, or a total differs.
    """
    from ecom_assets.personal import totals

    for hit in found.hits[:SHOWN]:
        say(f"[red]✗[/] {hit}")
    if found.hits:
        say_error(
            "Not erased yet.",
            f"It is still in {counted(len(found.hits), 'file')}. Delete what holds it, or call this again.",
        )
        raise typer.Exit(EXIT_FAILED)
    say(f"[green]✓[/] absent from all {count(found.files)} files ({size(found.bytes)}), also decoded")
    after, register = totals(Lake.from_settings(settings)), Register.of(settings)
    open_ones = [subject.erasure for subject in subjects if subject.erasure.finished_at is None]
    for erasure in open_ones:
        sought.drop(settings, erasure.pseudonym)
        register.record(erasure.model_copy(update={"finished_at": datetime.now(UTC)}))
    befores = [erasure.totals for erasure in open_ones if erasure.totals]
    differing = {
        f"{name}: {figure} before, {after.get(name)} now"
        for before in befores
        for name, figure in before.items()
        if figure != after.get(name)
    }
    if differing:
        say_error(
            "Totals differ.", "; ".join(sorted(differing)) + ". Were rows loaded, and the marts not, before this?"
        )
        raise typer.Exit(EXIT_FAILED)
    if befores:
        sums = ", ".join(f"{figure} {name}" for name, figure in after.items() if not name.startswith("days"))
        say(f"[green]✓[/] totals as before, on each day: {sums}")
    say(
        f"Not in reach: what {load_shop(settings).file.name} reads (a load leaves the customer out), exported files, "
        "sent alerts, backups, copies in PostgreSQL, old versions of objects in a bucket."
    )
