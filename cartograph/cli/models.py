"""`cartograph models`: the versions of each model, which of them predicts, who decided that, and how to make it again.

How a version becomes the champion without anybody's doing is the gate of `ml_assets.core.evaluation.promotion`.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape

from cartograph.cli.console import names_and_numbers, output, say, say_error
from cartograph.cli.declared import Declared, tell
from cartograph.cli.instance import only_run
from cartograph.cli.options import written
from cartograph.cli.run import EXIT_FAILED
from cartograph.lake import Lake
from cartograph.lake.errors import SnapshotMissing, TableMissing
from cartograph.releases import Override
from cartograph.settings import Settings, load_settings
from cartograph.shops import load_shop
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.core.models.export import sha256
from ml_assets.core.registry import CHALLENGER, CHAMPION, Decision, ModelRegistry, NoModel, Registered, Version

app = typer.Typer(help="Models: their versions, and which of them predicts.", no_args_is_help=True)

NEXT = "`cartograph run` scores and releases with it."

Name = Annotated[str, typer.Argument(help="The model, e.g. churn_classifier.")]
Number = Annotated[str, typer.Argument(help="The version, as `cartograph models list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
By = Annotated[str, typer.Option(help="Who decides it; by default the name of your login.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List all versions of all models; the champion predicts, the challenger only aside, to be compared."""
    settings = load_settings()
    registry = registry_of(settings) if has_registry(settings) else None
    versions = [version for name in registry.names() for version in registry.versions(name)] if registry else []
    if as_json:
        typer.echo(json.dumps([described(version) for version in versions], indent=2))
        return
    if not versions:
        output.print("No model yet. `cartograph run` trains them.")
        return
    table = names_and_numbers("", "model", "version", "registered (UTC)", "as of", "checks", "gate")
    for version in versions:
        table.add_row(
            ", ".join(version.aliases),
            version.name,
            version.version,
            f"{version.registered_at:%Y-%m-%d %H:%M}",
            version.as_of or "–",
            "–" if version.failed is None else f"failed: {', '.join(version.failed)}" if version.failed else "passed",
            version.verdict.outcome if version.verdict else "–",
        )
    output.print(table)


@app.command()
def check() -> None:
    """Look at the files of the shop's own models: what is wrong with each, without training it.

    Targets are held against the columns of the marts that the shop has by now.
    """
    from ml_assets.core.models.errors import OwnModelError
    from ml_assets.core.own_models.estimators import try_out
    from ml_assets.core.own_models.folder import model_files
    from ml_assets.core.own_models.target import try_events

    settings = load_settings()
    files = model_files(settings)
    if not files:
        output.print(f"No model of your own: CARTOGRAPH_MODELS_DIR is {settings.models_dir or 'not set'}.")
    told = []
    for file in files:
        problem = file.problem
        if file.model:
            try:
                if marts := published(settings, file.model.marts):
                    try_events(Lake.from_settings(settings).connect_shut_in, file.model.target.events, marts)
                try_out(file.model.estimator)
            except OwnModelError as error:
                problem = f"{file.path}: {error}"
        told.append(Declared(file.path.stem, problem))
    tell(told)


@app.command()
def compare(
    name: Name,
    version: Annotated[
        str | None, typer.Argument(help="The version; by default the challenger, or else the latest one.")
    ] = None,
    other: Annotated[str | None, typer.Argument(help="What to compare it with; by default the champion.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the figures of two versions side by side, what became of their predictions, and what the gate said."""
    settings = load_settings()
    registry = registry_of(settings)
    known, aliases = versions_of(registry, name), registry.aliases(name)
    first = other or aliases.get(CHAMPION)
    if len(known) == 1:
        only = known[0].version
        raise NoModel(
            f"{name} has one version, {only}, and nothing to compare it with. `cartograph models card {name} {only}` "
            "shows its figures."
        )
    if first is None:
        raise NoModel(f"{name} has no champion to compare with: name two versions.")
    second = version or aliases.get(CHALLENGER) or known[-1].version
    if first == second:
        others = ", ".join(one.version for one in known if one.version != first)
        raise NoModel(f"Version {first} of {name} is not compared with itself: name another one, of {others}.")
    before, after = registry.load(name, first), registry.load(name, second)
    verdict = registry.version(name, second).verdict
    figures = {
        key: (figures_of(before).get(key), figures_of(after).get(key)) for key in figures_of(before) | figures_of(after)
    }
    came = realised(settings, name, first, second)
    if as_json:
        told_so = {
            "name": name,
            "versions": [first, second],
            "figures": figures,
            "realised": {"as_of": came[0].isoformat(), "figures": came[1]} if came else None,
            "gate": verdict.model_dump() if verdict else None,
        }
        typer.echo(json.dumps(told_so, indent=2))
        return
    table = names_and_numbers(name, numbers=(f"version {first}", f"version {second}"))
    for key, values in {"as of": (before.card["as_of"], after.card["as_of"]), **figures}.items():
        table.add_row(key, *(shown(value) for value in values))
    output.print(table)
    say("Each on its own holdout, by its training; the gate holds both against the same rows.")
    if came:
        outcome = names_and_numbers("what came", numbers=(f"version {first}", f"version {second}"))
        for key, values in came[1].items():
            outcome.add_row(key, *(shown(value) for value in values))
        output.print(outcome)
        say(f"Of the predictions of both for {came[0]}, by what came afterwards.")
    else:
        say("What became of their predictions cannot be compared yet: of no as-of date that of both is known.")
    if verdict:
        say(f"gate: version {second} was {verdict.outcome}: {verdict.reason}")
        for key, value in verdict.evidence.items():
            say(f"  {key:<28} {shown(value)}")


@app.command("log")
def show_log(
    name: Annotated[str | None, typer.Argument(help="The model; by default all.")] = None, as_json: AsJson = False
) -> None:
    """List who or what made which version the champion, when, why, and on what evidence; oldest first."""
    registry = registry_of(load_settings())
    if name:
        versions_of(registry, name)
    decisions = [
        (model, decision) for model in ([name] if name else registry.names()) for decision in registry.log(model)
    ]
    if as_json:
        typer.echo(json.dumps([{"name": of, **found.model_dump(mode="json")} for of, found in decisions], indent=2))
        return
    if not decisions:
        output.print("Nothing was promoted yet.")
        return
    table = names_and_numbers("when (UTC)", "model", "what", "by", "why")
    for model, decision in sorted(decisions, key=lambda item: item[1].at):
        table.add_row(f"{decision.at:%Y-%m-%d %H:%M:%S}", model, told(decision), decision.by, decision.reason)
    output.print(table)


@app.command()
def card(
    name: Name, version: Annotated[str | None, typer.Argument(help="The version; by default the champion.")] = None
) -> None:
    """Print a version's model card as Markdown: purpose, data, figures, checks, limits, and how it came to predict."""
    from ml_assets.core.models.cards import history, page

    registry = registry_of(load_settings())
    versions_of(registry, name)
    wanted = version or registry.aliases(name).get(CHAMPION)
    if wanted is None:
        raise NoModel(f"{name} has no champion: name a version.")
    found = registry.version(name, wanted)
    typer.echo(page(found, registry.load(name, wanted)) + "\n" + history(found, registry.log(name)), nl=False)


@app.command()
def cards(
    folder: Annotated[Path, typer.Argument(help="Where to write them, e.g. docs/models.")],
) -> None:
    """Write the cards of all champions as Markdown, with an index and their pictures; other files there stay."""
    from ml_assets.core.models.cards import index, page

    settings = load_settings()
    registry = registry_of(settings)
    champions = {
        name: (registry.version(name, model.version), model)
        for name in registry.names()
        if (model := registry.champion(name))
    }
    catalogue = "[the feature catalogue](../features.md)"
    with written(folder):
        for name, (version, model) in champions.items():
            pictures = folder / name
            pictures.mkdir(parents=True, exist_ok=True)
            for file, content in model.pictures.items():
                (pictures / file).write_bytes(content)
            (folder / f"{name}.md").write_text(page(version, model, catalogue, f"{name}/"), encoding="utf-8")
        (folder / "README.md").write_text(index(champions, load_shop(settings).title), encoding="utf-8")
    say(f"[green]✓[/] {escape(str(folder))}: {len(champions)} cards")


@app.command()
def promote(
    name: Name,
    version: Number,
    by: Annotated[str, typer.Option(help="Who decides it.")],
    reason: Annotated[str, typer.Option(help="Why, in at least 10 characters; it stays in the log.")],
    override: Annotated[
        bool, typer.Option("--override", help="Also a version that did not pass checks that block; the log says so.")
    ] = False,
) -> None:
    """Make a version the champion, also one that the gate kept back. No training puts back the one that it replaces."""
    try:
        decided = Override(by=by, reason=reason)
    except ValidationError:
        raise NoModel("--by takes a name, and --reason 10 to 1,000 characters that say why.") from None
    with changing() as registry:
        versions_of(registry, name)
        found = registry.version(name, version)
        if CHAMPION in found.aliases:
            raise NoModel(f"Version {version} of {name} is the champion already.")
        if found.failed != () and not override:
            what = f"did not pass {', '.join(found.failed)}" if found.failed else "was never judged"
            raise NoModel(
                f"Version {version} of {name} {what}. Mend what the checks say and train again; or answer for it "
                "with --override."
            )
        registry.load(name, version)
        evidence = dict(found.verdict.evidence) if found.verdict else {}
        evidence |= {"gate": f"{found.verdict.outcome}: {found.verdict.reason}"} if found.verdict else {}
        evidence |= {"overridden": ", ".join(found.failed or ("never judged",))} if found.failed != () else {}
        decision = registry.promote(
            name, version, **decided.model_dump(), at=datetime.now(UTC), is_gate=False, evidence=evidence
        )
    say(f"[green]✓[/] {name}: {told(decision)}. {NEXT}")


@app.command()
def rollback(
    name: Name,
    by: By = "",
    reason: Annotated[str, typer.Option(help="Why; it stays in the log.")] = "rolled back by hand",
) -> None:
    """Go back to the version that was the champion before. Again for the one before that."""
    with changing() as registry:
        versions_of(registry, name)
        decision = registry.roll_back(name, by=by or getpass.getuser(), reason=reason, at=datetime.now(UTC))
    say(f"[green]✓[/] {name}: {told(decision)}. {NEXT}")


@app.command()
def reproduce(name: Name, version: Number) -> None:
    """Make a version again, from what the registry says that it was trained from, and compare the bytes."""
    from ml_assets.core.models.recipes import rebuild
    from ml_assets.defs.metadata import git_commit

    settings = load_settings()
    registry = registry_of(settings)
    versions_of(registry, name)
    found = registry.version(name, version)
    recorded, present = found.origin.get("git_commit"), git_commit() or "unknown"
    try:
        with output.status(f"training version {version} of {name} again"):
            digest = sha256(rebuild(found, Lake.from_settings(settings)))
    except (SnapshotMissing, TableMissing, NotEnoughData) as gone:
        say_error(f"Version {version} of {name} cannot be made again: its data are gone.", str(gone))
        raise typer.Exit(EXIT_FAILED) from None
    if digest == found.sha256:
        say(f"[green]✓[/] version {version} of {name}: the same bytes, SHA-256 {digest}")
        return
    cause = (
        f"It was trained by the code of commit {recorded}, and this is {present}: check that out and call this again."
        if recorded != present
        else f"The code is of the same commit, {present}: files were changed since, or libraries have other versions."
    )
    say_error(
        f"Version {version} of {name} comes out differently.",
        f"Its bytes have SHA-256 {digest}, and the registered ones {found.sha256}. {cause}",
    )
    raise typer.Exit(EXIT_FAILED)


def published(settings: Settings, marts: Sequence[str]) -> dict[str, str]:
    """DuckDB SELECTs of marts by name; none where the shop does not have all of them yet."""
    if not settings.catalog_uri and not settings.shop_home.is_dir():
        return {}
    lake, tables = Lake.from_settings(settings), {mart: f"published.{mart}" for mart in marts}
    if not all(map(lake.exists, tables.values())):
        return {}
    return {mart: lake.relation_sql(table) for mart, table in tables.items()}


def has_registry(settings: Settings) -> bool:
    """Whether there is anything to look at: a server, or a database that a run has made."""
    return settings.mlflow_uri is not None or (settings.shop_home / "mlflow.db").is_file()


def registry_of(settings: Settings) -> ModelRegistry:
    """The chosen shop's registry.

    Raises:
        NoModel: nothing was ever registered.
    """
    load_shop(settings)
    if not has_registry(settings):
        raise NoModel(f"{settings.shop} has no model yet. `cartograph run` trains them.")
    return ModelRegistry(settings.resolved_mlflow_uri)


@contextmanager
def changing() -> Iterator[ModelRegistry]:
    """The registry, while no run of the shop is at work: it may be training or scoring just now."""
    settings = load_settings()
    registry = registry_of(settings)
    with only_run(settings):
        yield registry


def versions_of(registry: ModelRegistry, name: str) -> list[Version]:
    """The versions of a model.

    Raises:
        NoModel: there is no such model.
    """
    names = registry.names()
    if name not in names:
        raise NoModel(f"There is no model {name!r}. There are: {', '.join(names) or 'none yet'}.")
    return registry.versions(name)


def figures_of(model: Registered) -> dict[str, float]:
    """A version's figures on its holdout, and its baselines'."""
    baselines = {f"{name} (baseline)": value for name, value in model.card["baseline_metrics"].items()}
    return {**model.card["metrics"], **baselines}


def realised(
    settings: Settings, name: str, first: str, second: str
) -> tuple[date, dict[str, tuple[float | None, float | None]]] | None:
    """What became of the predictions of two versions, as `side_by_side` says."""
    from ml_assets.core.monitoring.quality import side_by_side, table_of

    lake, table = Lake.from_settings(settings), f"monitoring.{table_of(name)}"
    return side_by_side(lake.batches(table).read_all(), first, second) if lake.exists(table) else None


def described(version: Version) -> dict[str, Any]:
    """A version as JSON."""
    return {
        **version._asdict(),
        "registered_at": version.registered_at.isoformat(),
        "verdict": version.verdict.model_dump() if version.verdict else None,
    }


def told(decision: Decision) -> str:
    """What was decided, in a few words."""
    instead = f" in place of {decision.previous}" if decision.previous else ""
    what = "promoted" if decision.action == "promoted" else "back to"
    return f"{what} version {decision.version}{instead}"


def shown(value: object) -> str:
    """A figure as a reader takes it in."""
    return "–" if value is None else f"{value:,.4g}" if isinstance(value, float) else str(value)
