"""The folder of a shop's experiments: each file of it as an experiment, or as what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from cartograph.settings import Settings, SettingsError
from ml_assets.core.experiments.errors import ExperimentError
from ml_assets.core.experiments.form import Experiment, read_experiment


class ExperimentFile(NamedTuple):
    """A file of the folder: its experiment, or why it cannot be used."""

    path: Path
    experiment: Experiment | None
    problem: str = ""


def experiment_files(settings: Settings) -> list[ExperimentFile]:
    """The files of the folder that are for the chosen shop, by name.

    Raises:
        SettingsError: there is no such folder.
    """
    folder = settings.resolved_experiments_dir
    if not folder.is_dir():
        if settings.experiments_dir is None:  # an installation without the repository's folder has none
            return []
        raise SettingsError(
            f"CARTOGRAPH_EXPERIMENTS_DIR={folder}: there is no such folder. Make it, or leave the setting out."
        )
    found = [_read(path) for path in sorted(folder.glob("*.y*ml"))]
    return [file for file in found if not file.experiment or _is_for(file.experiment, settings.shop)]


def lacking(experiment: Experiment, datasets: Collection[str]) -> list[str]:
    """The datasets that the experiment needs and that are none of those the shop delivers, `datasets`."""
    return sorted(experiment.datasets - set(datasets))


def told(experiment: Experiment, datasets: Collection[str]) -> str:
    """The same in words; empty where nothing is lacking."""
    missing = lacking(experiment, datasets)
    return f"not analysed, as the shop does not deliver {', '.join(missing)}" if missing else ""


def _is_for(experiment: Experiment, shop: str) -> bool:
    return experiment.shops is None or shop in experiment.shops


def _read(path: Path) -> ExperimentFile:
    try:
        return ExperimentFile(path, read_experiment(path))
    except ExperimentError as error:
        return ExperimentFile(path, None, str(error))
