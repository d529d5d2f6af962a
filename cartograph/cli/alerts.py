"""`cartograph alerts`: what fails, what waits to be sent or was refused, and whether the sinks can be reached."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.markup import escape

from cartograph.alerts.config import load_alerts
from cartograph.alerts.delivery import send
from cartograph.alerts.ledger import Ledger
from cartograph.alerts.messages import Signal, grouped
from cartograph.alerts.sinks import SinkError
from cartograph.cli.console import names_and_numbers, output, say, say_error
from cartograph.cli.status import last_runs, print_run
from cartograph.settings import load_settings
from cartograph.words import counted, listed

app = typer.Typer(help="Alerts: what fails, and who hears of it.", no_args_is_help=True)


@app.command("list")
def list_alerts() -> None:
    """List what fails, what waits to be sent and what was refused. `cartograph up` runs what finds and sends it.

    Before they ever ran, it is what the last runs found.
    """
    settings = load_settings()
    if not settings.alerts_path.is_file():
        runs = last_runs(settings)
        found = "The last runs found:" if runs else "No run either."
        output.print(f"Nobody was told of anything yet: the sensors run in `cartograph up`. {found}")
        for run in runs:
            print_run(run)
        return
    ledger = Ledger(settings.alerts_path)
    failing = ledger.failing()
    if not failing:
        output.print("Nothing fails.")
    else:
        table = names_and_numbers("what", "check", "severity", "owner", "since (UTC)", "found")
        for signal in failing:
            since = f"{signal.at:%Y-%m-%d %H:%M}"
            table.add_row(signal.subject, signal.name, signal.severity, signal.owner, since, signal.text)
        output.print(table)
    for waiting in ledger.unsent():
        reason = f": {waiting.last_error}" if waiting.last_error else ""
        say(f"[yellow]waiting[/]  {waiting.messages} for {waiting.sink}{escape(reason)}")
    for refusal in ledger.refusals():
        last = f"the last, {refusal.title}, as {refusal.reason}"
        say(f"[red]refused[/]  {refusal.messages} by {refusal.sink}, which are in alerts.jsonl: {escape(last)}")
        say("         `cartograph alerts resend` queues them again, once the sink would take them")


@app.command()
def resend() -> None:
    """Queue the messages that sinks refused for good once more, as after a mended address; `cartograph up` sends."""
    path = load_settings().alerts_path
    queued = Ledger(path).resend() if path.is_file() else {}
    for sink, messages in queued.items():
        say(f"[green]✓[/] {counted(messages, 'message')} for {sink} {'waits' if messages == 1 else 'wait'} to be sent")
    if not queued:
        output.print("Nothing was refused.")


@app.command()
def close(
    subject: Annotated[str, typer.Argument(help="What fails, as `cartograph alerts list` calls it.")],
) -> None:
    """Forget what fails of something that there is no more, as of an asset that was taken out. Nobody is told.

    What fails there still is told anew when it is found again.
    """
    path = load_settings().alerts_path
    ledger = Ledger(path) if path.is_file() else None
    closed = ledger.close(subject) if ledger else []
    if ledger is None or not closed:
        known = listed(sorted({signal.subject for signal in ledger.failing()}) if ledger else []) or "nothing"
        say_error(f"Nothing fails of {subject!r}.", f"There fails: {known}.")
        raise typer.Exit(1)
    for signal in closed:
        say(f"[green]✓[/] {signal.subject} {signal.name}: forgotten")


@app.command()
def test() -> None:
    """Send a message to each sink of the file of alerts, and say which of them took it."""
    settings = load_settings()
    now = datetime.now(UTC)
    signal = Signal(
        subject="a test",
        name="test",
        healthy=False,
        severity="warning",
        owner="whoever asked for it",
        run_id="none",
        text="`cartograph alerts test` asked for this message; nothing is wrong",
        at=now,
    )
    (message,) = grouped([signal], [])
    failed = False
    for name, sink in load_alerts(settings).all_sinks(settings).items():
        try:
            send(sink, message)
        except SinkError as error:
            failed = True
            say_error(f"{name}: not taken.", str(error))
        else:
            say(f"[green]✓[/] {name}: taken")
    if failed:
        raise typer.Exit(1)
