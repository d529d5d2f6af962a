"""The folder of causal questions: each file of it as a question, or as what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cartograph.settings import Settings, SettingsError
from ml_assets.core.questions.asked import Asked, QuestionError
from ml_assets.core.questions.form import read_question


class QuestionFile(NamedTuple):
    """A file of the folder: its question, or why it cannot be used."""

    path: Path
    question: Asked | None
    problem: str = ""


def question_files(settings: Settings) -> list[QuestionFile]:
    """The files of the folder that the settings name, by name; those for other shops are left out.

    Raises:
        SettingsError: there is no such folder.
    """
    folder = settings.resolved_questions_dir
    if not folder.is_dir():
        raise SettingsError(
            f"CARTOGRAPH_QUESTIONS_DIR={folder}: there is no such folder. Make it, or leave the setting out."
        )
    found = [_read(path) for path in sorted(folder.glob("*.y*ml"))]
    return [file for file in found if file.question is None or is_asked_of(file.question, settings.shop)]


def is_asked_of(question: Asked, shop: str) -> bool:
    """Whether `question` is for `shop`."""
    return question.shops is None or shop in question.shops


def _read(path: Path) -> QuestionFile:
    try:
        return QuestionFile(path, read_question(path))
    except QuestionError as error:
        return QuestionFile(path, None, str(error))
