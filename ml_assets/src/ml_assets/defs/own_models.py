"""The shop's own models: the files of the settings' folder as components. What a component makes belongs there.

A file that cannot be used becomes an asset that fails with the reason, upstream of the release as a model is: all else
runs, and nothing is released that somebody would miss the model in.
"""

import re

import dagster as dg

from cartograph.settings import get_settings
from ml_assets.components.customer_model import CustomerModel, model_key, predictions_key
from ml_assets.core.own_models.folder import SHIPPED, ModelFile, model_files
from ml_assets.core.own_models.form import NAME, OwnModel
from ml_assets.defs.marts import delivered


def own_models() -> list[OwnModel]:
    """The models of the folder that this shop has all marts for."""
    files = model_files(get_settings())
    return [file.model for file in files if file.model and not lacking(file.model)]


def lacking(model: OwnModel) -> list[str]:
    """The marts that the model is of no use without, and that the shop does not deliver."""
    return sorted(model.needs - set(delivered(model.needs)))


def unusable() -> list[ModelFile]:
    """The files of the folder that are no models."""
    return [file for file in model_files(get_settings()) if file.model is None]


def unusable_key(file: ModelFile) -> dg.AssetKey:
    """The key of the asset that fails in the place of the model: the model's own, where that can be one."""
    stem = file.path.stem
    if re.fullmatch(NAME, stem) and stem not in SHIPPED:
        return model_key(stem)
    return model_key(f"unusable_{re.sub(r'[^a-z0-9]+', '_', file.path.name.lower())}")


def own_keys() -> list[dg.AssetKey]:
    """The assets that the folder gives a release."""
    made = [key for model in own_models() for key in (model_key(model.name), predictions_key(model.name))]
    return [*made, *map(unusable_key, unusable())]


def unusable_asset(file: ModelFile) -> dg.AssetsDefinition:
    """The asset in the place of a model whose file cannot be used."""

    @dg.asset(
        key=unusable_key(file),
        kinds={"yaml"},
        tags={"domain": "customer"},
        description=f"The file {file.path.name} cannot be used. {file.problem}",
    )
    def _unusable() -> None:
        raise dg.Failure(f"{file.problem} `cartograph models check` says when it can be used.", allow_retries=False)

    return _unusable


@dg.definitions
def defs(context: dg.ComponentLoadContext) -> dg.Definitions:
    """The assets and checks of the folder's files."""
    return dg.Definitions.merge(
        *(CustomerModel(**model.model_dump()).build_defs(context) for model in own_models()),
        dg.Definitions(assets=[unusable_asset(file) for file in unusable()]),
    )
