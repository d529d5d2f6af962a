"""Tracking of parallel steps in processes of their own: a run for each, with the status that the step ended in."""

from __future__ import annotations

import dagster as dg
import mlflow

from tests.graph.ml_tracked_job import FOLDER_VARIABLE, tracked_job


def test_parallel_steps_have_a_run_each_with_its_true_end(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        result = dg.execute_job(dg.reconstructable(tracked_job), instance, raise_on_error=False)
    assert not result.success
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (experiment,) = [found for found in client.search_experiments() if found.name == "tracked"]
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.tags["dagster_asset_key"]: run.info.status for run in runs} == {
        "models/sound": "FINISHED",
        "models/failing": "FAILED",
    }
    assert len(runs) == 2
    assert {run.data.tags["dagster_run_id"] for run in runs} == {result.run_id}
    assert {run.data.tags["dagster_asset_key"]: run.data.metrics["auc"] for run in runs} == {
        "models/sound": 0.8,
        "models/failing": 0.5,
    }
