"""Code location 2: loads the defs folder and applies the policies that hold for the whole graph, nothing else."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.asset_graph import with_graph
from cartograph.trust.freshness import with_freshness
from ml_assets.defs.automation import condition

RELEASE_KEY = dg.AssetKey(["serving", "release"])
PROJECT_ROOT = Path(__file__).parents[2]
DEFS_FOLDER = Path(__file__).parent / "defs"
OWNER = "team:data-science"
LIBRARIES = (
    "cartograph.lake",
    "mlflow",
    "onnx",
    "sqlalchemy.exc",
    "dagster_mlflow",
    "scipy.interpolate",
    "scipy.optimize",
    "scipy.signal",
    "sklearn.calibration",
    "sklearn.cluster",
    "sklearn.ensemble",
    "sklearn.impute",
    "sklearn.linear_model",
    "econml.dr",
    "econml.dml",
    "econml.validate.drtester",
    "econml.validate.sensitivity_analysis",
    "sklearn.compose",
    "econml.policy",
    "skl2onnx",
    "lightgbm",
    "statsforecast.models",
    "onnxruntime",
    "optuna",
    "implicit.cpu.als",
    "implicit.nearest_neighbours",
    "scipy.sparse",
    "scipy.stats",
    "tea_tasting.metrics",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
    "shap",
    "markdown_it",
    "networkx",
)
"""What the steps import when they need it; a process that waits for its turn has the seconds for it ahead."""


def load_folder() -> dg.Definitions:
    """What the defs folder defines.

    `dg.load_from_defs_folder` would also import every installed Dagster library, to list its components in the UI:
    with dagster-dbt and dagster-aws that takes longer than the rest of this location.
    """
    return dg.ComponentTree.for_project(PROJECT_ROOT).build_defs(DEFS_FOLDER)


@dg.definitions
def defs() -> dg.Definitions:
    """All assets, checks, jobs and resources of the location."""
    definitions = load_folder().map_resolved_asset_specs(
        func=lambda spec: spec.replace_attributes(
            owners=spec.owners or [OWNER], group_name=spec.key.path[0], automation_condition=condition(spec.key)
        )
    )
    return with_graph(with_freshness(definitions, load_shop(get_settings())), told=RELEASE_KEY)
