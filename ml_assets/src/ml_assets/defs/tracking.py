"""MLflow tracking of asset steps: a thin wrap of dagster-mlflow that gives each step a run of its own.

dagster-mlflow alone shares one run between the steps of a Dagster run, opens two under the multiprocess executor, and
records failed runs as finished. The registry of models is `ml_assets.core.registry`.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg


@dataclass(frozen=True)
class _Step:
    """What dagster-mlflow's `MlFlow` reads of the context that a resource is made with."""

    log: logging.Logger
    dagster_run: dg.DagsterRun
    run_id: str
    resource_config: dict[str, Any]


class MlflowTracking(dg.ConfigurableResource[Any]):
    """Where runs are tracked: `uri` is an MLflow backend, `artifacts` the folder of a local one, unset for a server."""

    uri: str
    artifacts: str | None = None
    experiment: str

    @contextmanager
    def run(self, context: dg.AssetExecutionContext) -> Iterator[Any]:
        """An active MLflow run for the asset step of `context`, as dagster-mlflow's `MlFlow`.

        It ends as the block does: finished, failed, or killed where the step was interrupted.
        """
        import mlflow
        from dagster_mlflow.resources import MlFlow

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        mlflow.set_tracking_uri(self.uri)
        with self._alone():
            client = mlflow.MlflowClient(self.uri)
            experiment = self._experiment_id(client)
        asset = context.asset_key.to_user_string()
        created = client.create_run(experiment, run_name=f"{asset} {context.run_id[:8]}")
        status = "KILLED"
        try:
            tags = {"dagster_asset_key": asset}
            if context.has_partition_key or context.has_partition_key_range:
                span = context.partition_key_range
                tags["dagster_partitions"] = span.start if span.start == span.end else f"{span.start}...{span.end}"
            config = {
                "experiment_name": self.experiment,
                "mlflow_tracking_uri": self.uri,
                "mlflow_run_id": created.info.run_id,
                "extra_tags": tags,
            }
            yield MlFlow(_Step(context.log, context.run, context.run_id, config))
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            if mlflow.active_run() is not None:
                mlflow.end_run(status)
            client.set_terminated(created.info.run_id, status)

    def _experiment_id(self, client: Any) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                return str(client.create_experiment(self.experiment, artifact_location=self.artifacts))
            except MlflowException:  # another machine has just made it
                found = client.get_experiment_by_name(self.experiment)
        return str(found.experiment_id)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes of this machine away: two that make MLflow's tables at once break each other."""
        if self.artifacts is None:
            yield
            return
        folder = Path(self.artifacts)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
