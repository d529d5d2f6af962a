"""`cartograph causal check` and `cartograph causal memo`: the files of causal questions, and the memos of answers.

An effect of a file of data, without a shop, is `cartograph causal estimate`'s business.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cartograph.cli.console import say_error
from cartograph.cli.declared import Declared, require, tell
from cartograph.cli.documents import AsHtml, Out, present
from cartograph.cli.run import EXIT_FAILED
from cartograph.lake import Lake
from cartograph.settings import Settings, load_settings

Name = Annotated[str, typer.Argument(help="The question: the name of its file, as `cartograph causal check` lists it.")]


def check() -> None:
    """Look at the files of causal questions: what is wrong with each, or what the shop lacks for it."""
    tell(states(load_settings()))


def memo(
    question: Name,
    html: AsHtml = False,
    out: Out = None,
) -> None:
    """Print or write the decision memo of a question: what was found, what was checked, and whether to act on it."""
    from ml_assets.core.questions.answers import read_told
    from ml_assets.core.questions.memo import without_pictures

    (told,) = read_told([stored(load_settings(), question)])
    drawn = {picture.file: picture.content for picture in told.pictures if html or out}
    present(told.memo if drawn else without_pictures(told.memo), drawn, told.effect.question, html=html, out=out)


def states(settings: Settings) -> list[Declared]:
    """The files of the shop's questions."""
    from cartograph.shops import load_shop
    from ml_assets.core.questions.folder import question_files
    from ml_assets.core.questions.lacking import told

    shop = load_shop(settings)
    return [
        Declared(file.path.stem, file.problem, told(file.question, shop.datasets) if file.question else "")
        for file in question_files(settings)
    ]


def stored(settings: Settings, question: str) -> dict[str, Any]:
    """The row of the answer to `question`, from the lake; it ends the command where there is none."""
    lake, table = Lake.from_settings(settings), f"causal.{question}"
    require(question, states(settings), "question")
    rows = lake.batches(table).read_all().to_pylist() if lake.exists(table) else []
    if not rows:
        say_error(
            f"{question} has no answer yet.",
            "`cartograph run` asks it; where it says that it cannot judge yet, the shop has too little data.",
        )
        raise typer.Exit(EXIT_FAILED)
    row: dict[str, Any] = rows[0]
    return row
