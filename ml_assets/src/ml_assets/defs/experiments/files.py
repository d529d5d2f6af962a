"""The shop's experiments: the files of the settings' folder as components. What a component makes belongs there.

A file that cannot be used becomes an asset that fails with the reason, as a shop's own model does. One that needs a
dataset that the shop does not deliver is left out, and `cartograph status` says why.
"""

import re

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from ml_assets.components.experiment import RandomisedExperiment, assignments_key, result_key
from ml_assets.core.experiments.folder import ExperimentFile, experiment_files, lacking
from ml_assets.core.experiments.form import NAME, Experiment


def experiments() -> list[Experiment]:
    """The experiments of the folder that this shop delivers all for."""
    settings = get_settings()
    datasets = load_shop(settings).datasets
    return [
        file.experiment
        for file in experiment_files(settings)
        if file.experiment and not lacking(file.experiment, datasets)
    ]


def unusable() -> list[ExperimentFile]:
    """The files of the folder that are no experiments."""
    return [file for file in experiment_files(get_settings()) if file.experiment is None]


def unusable_key(file: ExperimentFile) -> dg.AssetKey:
    """The key of the asset that fails in the place of the experiment: its own, where that can be one."""
    stem = file.path.stem
    if re.fullmatch(NAME, stem):
        return result_key(stem)
    return result_key(f"unusable_{re.sub(r'[^a-z0-9]+', '_', file.path.name.lower())}")


def experiment_keys() -> list[dg.AssetKey]:
    """The assets that the folder gives a release."""
    made = [key for one in experiments() for key in (assignments_key(one.name), result_key(one.name))]
    return [*made, *map(unusable_key, unusable())]


def unusable_asset(file: ExperimentFile) -> dg.AssetsDefinition:
    """The asset in the place of an experiment whose file cannot be used."""

    @dg.asset(
        key=unusable_key(file),
        kinds={"yaml"},
        tags={"domain": "marketing"},
        description=f"The file {file.path.name} cannot be used. {file.problem}",
    )
    def _unusable() -> None:
        raise dg.Failure(f"{file.problem} `cartograph experiment check` says when it can be used.", allow_retries=False)

    return _unusable


@dg.definitions
def defs(context: dg.ComponentLoadContext) -> dg.Definitions:
    """The assets and checks of the folder's files."""
    return dg.Definitions.merge(
        *(RandomisedExperiment(**one.model_dump()).build_defs(context) for one in experiments()),
        dg.Definitions(assets=[unusable_asset(file) for file in unusable()]),
    )
