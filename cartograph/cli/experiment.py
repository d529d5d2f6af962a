"""`cartograph experiment`: the cores on a file of yours, how many units one needs, and the shop's own memos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from cartograph.cli.console import say_error
from cartograph.cli.declared import Declared, require, tell
from cartograph.cli.documents import AsHtml, Out, present
from cartograph.cli.options import finite
from cartograph.cli.run import EXIT_FAILED
from cartograph.lake import Lake
from cartograph.settings import Settings, load_settings
from ml_assets.core.bench.errors import BenchDataError

app = typer.Typer(
    help="Randomised experiments: `analyse` and `power` ask of any file and print JSON, `check` and `memo` are of the "
    "shop's own.",
    no_args_is_help=True,
)

SPLIT, GUARDRAIL = "control=0.5,treatment=0.5", "NAME=0.02"
"""The forms of options that name numbers."""
Alpha = Annotated[
    float, typer.Option(callback=finite, min=0.0001, max=0.5, help="Chance of a false find that is accepted.")
]


@app.command()
def analyse(
    data: Annotated[Path, typer.Option("--data", help="CSV or Parquet: a row for each unit.")],
    variant: Annotated[str, typer.Option("--variant", help="Column of the variant.")],
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="Column of a metric (number, or true and false); the first one decides."),
    ] = None,
    ratio: Annotated[list[str] | None, typer.Option(help="A ratio of two columns: numerator/denominator.")] = None,
    guardrail: Annotated[
        list[str] | None, typer.Option(help="Column of a metric that must not get worse; NAME=0.02: by 2 % at most.")
    ] = None,
    control: Annotated[str | None, typer.Option(help="The control; by default the one that is called so.")] = None,
    unit: Annotated[
        str | None, typer.Option(help="Column of the unit; its rows are added up. By default a row is a unit.")
    ] = None,
    covariate: Annotated[
        list[str] | None, typer.Option(help="Column known before the assignment, which explains the metrics (CUPED).")
    ] = None,
    segment: Annotated[list[str] | None, typer.Option(help="Column known before, to tell effects apart by.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Planned shares: control=0.5,treatment=0.5. By default equal ones.")
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(help="Column of the day on which a unit's metrics are complete: a look for each."),
    ] = None,
    lower_is_better: Annotated[list[str] | None, typer.Option(help="A metric that should go down.")] = None,
    smallest_effect: Annotated[
        float | None,
        typer.Option(
            callback=finite, min=0, help="Least relative effect on the first metric worth having: 0.02 for 2 %."
        ),
    ] = None,
    cap: Annotated[
        float | None,
        typer.Option(callback=finite, min=0.5, max=1, help="Cap metrics at this quantile, against long tails: 0.999."),
    ] = None,
    alpha: Alpha = 0.05,
    correction: Annotated[
        Literal["holm", "benjamini_hochberg", "none"], typer.Option(help="For many metrics and variants.")
    ] = "holm",
    sequential: Annotated[
        bool, typer.Option("--sequential", help="Decide by the intervals that hold at every look: you have peeked.")
    ] = False,
    planned_units: Annotated[
        int | None, typer.Option(min=1, help="Units planned in all; by default those of the file.")
    ] = None,
) -> None:
    """Analyse an experiment: sample ratio, effects with intervals, corrected p-values, power; ship, hold or stop."""
    from ml_assets.core.experiments.files import Asked, analyse

    margins = dict(_pair(text, "=", "--guardrail", GUARDRAIL) for text in guardrail or [] if "=" in text)
    asked = Asked(
        variant=variant,
        metrics=tuple(metric or ()),
        ratios=tuple(_pair(text, "/", "--ratio", "numerator/denominator") for text in ratio or []),
        guardrails=tuple(text.partition("=")[0] for text in guardrail or []),
        control=control,
        unit=unit,
        covariates=tuple(covariate or ()),
        segments=tuple(segment or ()),
        shares=_shares(split) if split else {},
        time=time,
        lower_is_better=tuple(lower_is_better or ()),
        smallest_effect=smallest_effect,
        margins=_numbers(list(margins.items()), "--guardrail", GUARDRAIL),
        cap=cap,
        alpha=alpha,
        correction=correction,
        is_sequential=sequential,
        planned_units=planned_units,
    )
    typer.echo(json.dumps(analyse(data, asked), indent=2))


@app.command()
def power(
    mean: Annotated[float, typer.Option(callback=finite, help="The metric's mean today; of a conversion its rate.")],
    effect: Annotated[float, typer.Option(callback=finite, help="Relative effect to find: 0.02 for 2 %.")],
    deviation: Annotated[
        float | None,
        typer.Option(callback=finite, min=0, help="The metric's standard deviation; by default that of a conversion."),
    ] = None,
    rho: Annotated[
        float,
        typer.Option(
            callback=finite, min=-0.999, max=0.999, help="Correlation with the covariates; takes its square off."
        ),
    ] = 0.0,
    split: Annotated[str, typer.Option(help="Shares, the control first.")] = SPLIT,
    units_per_day: Annotated[
        float | None, typer.Option(callback=finite, min=0.001, help="Units that come each day.")
    ] = None,
    alpha: Alpha = 0.05,
) -> None:
    """How many units find an effect four times of five, and how many days they take."""
    from ml_assets.core.experiments.analysis import needed_units
    from ml_assets.core.experiments.files import planned

    shares = _shares(split)
    if deviation is None and not 0 < mean < 1:
        raise BenchDataError(f"--mean {mean:g} is no rate of a conversion, which is in (0, 1): give --deviation too.")
    if len(shares) < 2 or not mean or not effect:
        raise BenchDataError("--mean and --effect must not be 0, and --split must name two variants or more.")
    if deviation is None and not 0 <= mean * (1 + effect) <= 1:
        raise BenchDataError(
            f"--effect {effect:g} on --mean {mean:g} would be a conversion of {mean * (1 + effect) * 100:g} %: give an "
            "effect that keeps it in 0 to 100 %, or --deviation where the metric is no conversion."
        )
    spread = deviation if deviation is not None else (mean * (1 - mean)) ** 0.5
    needed = needed_units(
        base=mean,
        deviation=spread,
        effect=abs(mean * effect),
        shares=planned(shares),
        alpha=alpha,
        rho=rho,
    )
    days = {} if units_per_day is None else {"days": -(-needed // units_per_day)}
    typer.echo(json.dumps({"units": needed, "power": 0.8, "alpha": alpha, "effect": mean * effect} | days, indent=2))


@app.command()
def check() -> None:
    """Look at the files of the shop's experiments: what is wrong with each, or what the shop lacks for it."""
    tell(states(load_settings()))


def states(settings: Settings) -> list[Declared]:
    """The files of the shop's experiments."""
    from cartograph.shops import load_shop
    from ml_assets.core.experiments.folder import experiment_files, told

    datasets = load_shop(settings).datasets
    return [
        Declared(file.path.stem, file.problem, told(file.experiment, datasets) if file.experiment else "")
        for file in experiment_files(settings)
    ]


@app.command()
def memo(
    name: Annotated[
        str, typer.Argument(help="The experiment: the name of its file, as `cartograph experiment check` lists it.")
    ],
    html: AsHtml = False,
    out: Out = None,
) -> None:
    """Print or write the memo of one of the shop's experiments: what each variant did, and whether to ship it."""
    from ml_assets.core.experiments.memo import illustrated
    from ml_assets.core.experiments.report import read_reports

    settings = load_settings()
    require(name, states(settings), "experiment")
    lake, table = Lake.from_settings(settings), f"experiments.{name}"
    if not lake.exists(table):
        say_error(f"{name} has no result yet.", "`cartograph run` makes it.")
        raise typer.Exit(EXIT_FAILED)
    with lake.connect() as con:
        (found,) = read_reports(con, [lake.relation_sql(table)])
    drawn = found.pictures if html or out else ()
    text = illustrated(found.result.memo, drawn)
    present(text, {one.file: one.content for one in drawn}, found.result.description, html=html, out=out)


def _shares(split: str) -> dict[str, float]:
    return _numbers([_pair(text, "=", "--split", SPLIT) for text in split.split(",")], "--split", SPLIT)


def _pair(text: str, sign: str, option: str, form: str) -> tuple[str, str]:
    left, found, right = text.partition(sign)
    if not found or not left.strip() or not right.strip():
        raise BenchDataError(f"{option} {text} is not of the form {form}.")
    return left.strip(), right.strip()


def _numbers(pairs: list[tuple[str, str]], option: str, form: str) -> dict[str, float]:
    found = {}
    for name, value in pairs:
        if name in found:
            raise BenchDataError(f"{option} names {name} twice. Write it as {form}.")
        try:
            found[name] = float(value)
        except ValueError:
            raise BenchDataError(f"{option} {name}={value}: {value!r} is no number. Write it as {form}.") from None
    if not all(0 < value < float("inf") for value in found.values()):
        raise BenchDataError(f"{option}: each number must be above 0.")
    return found
