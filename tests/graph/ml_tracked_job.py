"""A job of two tracked steps without a dependency, one of which fails; processes of Dagster's executor import it."""

from __future__ import annotations

import os

import dagster as dg

from ml_assets.defs.tracking import MlflowTracking

FOLDER_VARIABLE = "TRACKED_FOLDER"


def tracked_job() -> dg.JobDefinition:
    """The job; its runs are tracked in the folder that the environment names."""
    folder = os.environ[FOLDER_VARIABLE]
    tracking = MlflowTracking(
        uri=f"sqlite:///{folder}/mlflow.db", artifacts=f"{folder}/artifacts", experiment="tracked"
    )

    @dg.asset(key=["models", "sound"])
    def sound(context, tracking: MlflowTracking) -> None:
        with tracking.run(context) as run:
            run.log_metric("auc", 0.8)

    @dg.asset(key=["models", "failing"])
    def failing(context, tracking: MlflowTracking) -> None:
        with tracking.run(context) as run:
            run.log_metric("auc", 0.5)
            raise dg.Failure("this step fails")

    definitions = dg.Definitions(
        assets=[sound, failing],
        jobs=[dg.define_asset_job("tracked", executor_def=dg.multiprocess_executor.configured({"max_concurrent": 2}))],
        resources={"tracking": tracking},
    )
    return definitions.resolve_job_def("tracked")
