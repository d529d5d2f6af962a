"""The resources and the executor of this location, made from the settings; a test replaces them by key."""

from __future__ import annotations

import dagster as dg

from cartograph.settings import Settings, get_settings
from ml_assets.defs.tracking import MlflowTracking

EXPERIMENT = "cartograph"


def tracking(settings: Settings) -> MlflowTracking:
    """Tracking in the settings' MLflow; with a local database, artifacts lie in the shop's folder."""
    uri = settings.resolved_mlflow_uri
    is_server = uri.startswith(("http://", "https://"))
    return MlflowTracking(
        uri=uri,
        artifacts=None if is_server else str(settings.shop_home / "mlflow_artifacts"),
        experiment=f"{EXPERIMENT}_{settings.shop}",
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The resources by key; steps share one process, which saves the import of MLflow (4 s) in each."""
    return dg.Definitions(resources={"tracking": tracking(get_settings())}, executor=dg.in_process_executor)
