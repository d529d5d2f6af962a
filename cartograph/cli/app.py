"""The Typer application: its commands, and how a user's mistake becomes one message and an exit status."""

from __future__ import annotations

import sys

import typer

from cartograph.alerts.config import AlertsError
from cartograph.cli import (
    alerts,
    bench,
    causal,
    dbt,
    docs,
    erase,
    events,
    experiment,
    export,
    keys,
    lake,
    models,
    quarantine,
    questions,
    release,
    repair,
    run,
    shops,
    status,
    up,
)
from cartograph.cli.console import say_error, say_warning
from cartograph.cli.room import full_disk
from cartograph.erasure import ErasureError
from cartograph.keys import KeysError
from cartograph.lake import LakeError
from cartograph.releases import ReleaseError
from cartograph.settings import SettingsError, load_settings
from cartograph.shops import ShopError, unknown_variables
from ecom_assets.contracts.validation import ContractError
from ecom_assets.sources import SourceError
from ecom_assets.warehouse.dbt_project import DbtProjectError
from ml_assets.core.bench.errors import BenchDataError
from ml_assets.core.causal.errors import CausalFileError
from ml_assets.core.causal.graph import GraphError
from ml_assets.core.registry import NoModel, RegistryDown

MISTAKES = (
    SettingsError,
    ShopError,
    AlertsError,
    SourceError,
    ContractError,
    LakeError,
    ReleaseError,
    ErasureError,
    KeysError,
    DbtProjectError,
    BenchDataError,
    CausalFileError,
    GraphError,
    NoModel,
    RegistryDown,
)
EXIT_MISTAKE = 2

app = typer.Typer(
    help="Cartograph: from a shop's raw data to a trusted release. Settings are described in docs/configuration.md.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def before_each_command() -> None:
    """Tell of variables that are probably misspelt."""
    settings = load_settings()
    alerts = "the file of alerts" if settings.alerts_file else "a file of alerts, as CARTOGRAPH_ALERTS_FILE is not set,"
    for variable, meant in unknown_variables(settings).items():
        guess = f" Is {meant} meant?" if meant else ""
        say_warning(f"{variable} is set, and neither a setting nor a shop's file nor {alerts} names it.{guess}")


app.command("run")(run.run)
app.command("repair")(repair.repair)
app.command("status")(status.status)
app.command("up")(up.up)
app.command("docs")(docs.docs)
app.command(
    "dbt",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(dbt.dbt)
app.command("export")(export.export_marts)
app.command("erase")(erase.erase)
app.add_typer(shops.app, name="shops")
app.add_typer(lake.app, name="lake")
app.add_typer(events.app, name="events")
causal.app.command("check")(questions.check)
causal.app.command("memo")(questions.memo)
app.add_typer(models.app, name="models")
app.add_typer(release.app, name="release")
app.add_typer(keys.app, name="keys")
app.add_typer(alerts.app, name="alerts")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(bench.app, name="bench")
app.add_typer(experiment.app, name="experiment")
app.add_typer(causal.app, name="causal")


def require_no_empty(arguments: list[str]) -> None:
    """Raise SettingsError where an argument is empty: a default in its place would be what nobody asked for.

    dbt's own arguments are for dbt to judge.
    """
    for place, argument in enumerate(arguments):
        if argument and not (argument.startswith("--") and argument.endswith("=")):
            continue
        if arguments[0] != "dbt":
            after = argument or f"The argument after {' '.join(['cartograph', *arguments[:place]])}"
            raise SettingsError(f"{after} is empty. Is a variable of the shell not set? Leave it out for the default.")


def main() -> None:
    """Run a command; a mistake in settings, shop, data, lake, dbt, model or release ends in a message and status 2.

    So does whatever fails while the disk is full.
    """
    try:
        require_no_empty(sys.argv[1:])
        app()
    except MISTAKES as mistake:
        say_error("Error:", str(mistake))
        sys.exit(EXIT_MISTAKE)
    except Exception as error:
        told = full_disk(load_settings(), error)
        if told is None:
            raise
        say_error("Error:", told)
        sys.exit(EXIT_MISTAKE)
