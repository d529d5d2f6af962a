"""The folder of a shop's own models: each file of it as a model, or as what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cartograph.settings import Settings, SettingsError
from ml_assets.core.models.errors import OwnModelError
from ml_assets.core.models.recipes import RECIPES
from ml_assets.core.monitoring.quality import TABLES
from ml_assets.core.own_models.form import OwnModel, read_model

_IN_API = frozenset({"behaviour", "next_best_action"})
SHIPPED = frozenset(RECIPES) | _IN_API | {table.removesuffix("_quality") for table in TABLES.values()}
"""The names that Cartograph's own models have, and those by which the API and `monitoring` call them."""


class ModelFile(NamedTuple):
    """A file of the folder: its model, or why it cannot be used."""

    path: Path
    model: OwnModel | None
    problem: str = ""


def model_files(settings: Settings) -> list[ModelFile]:
    """The files of the folder that the settings name, by name; none where they name no folder.

    Raises:
        SettingsError: there is no such folder.
    """
    folder = settings.models_dir
    if folder is None:
        return []
    if not folder.is_dir():
        raise SettingsError(
            f"CARTOGRAPH_MODELS_DIR={folder}: there is no such folder. Make it, or leave the setting out."
        )
    return [_read(path, settings) for path in sorted(folder.glob("*.y*ml"))]


def _read(path: Path, settings: Settings) -> ModelFile:
    try:
        return ModelFile(path, read_model(path, taken=SHIPPED, allowed=settings.allowed_estimators))
    except OwnModelError as error:
        return ModelFile(path, None, str(error))
