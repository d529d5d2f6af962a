"""dbt in this process, on the project as it was parsed: as a command it would spend seconds on starting, each time."""

from __future__ import annotations

from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest

from cartograph.settings import Settings
from cartograph.shops import load_shop
from cartograph.windows import Window
from ecom_assets.warehouse.dbt_project import PROJECT_DIR, dbt_environment, dbt_home, environment_of

_PLACES = ("--project-dir", str(PROJECT_DIR), "--profiles-dir", str(PROJECT_DIR), "--quiet")
_PARSED: dict[frozenset[str], Manifest] = {}
"""The project as it was parsed, by the datasets that the shop delivers."""


def build(settings: Settings, *arguments: str, window: Window | None = None) -> None:
    """`dbt build` on the shop of `settings`: of the facts those of `window` (None: of all time)."""
    datasets = load_shop(settings).datasets
    folders = {name: str(dbt_home(settings) / "run") for name in ("DBT_TARGET_PATH", "DBT_LOG_PATH")}
    with environment_of({**dbt_environment(settings, datasets, window=window), **folders}):
        if datasets not in _PARSED:
            _PARSED[datasets] = _invoke(dbtRunner(), "parse").result
        try:
            _invoke(dbtRunner(_PARSED[datasets]), "build", *arguments)
        finally:
            DuckDBConnectionManager.close_all_connections()


def _invoke(runner: dbtRunner, *arguments: str) -> dbtRunnerResult:
    done = runner.invoke([*arguments, *_PLACES])
    assert done.success, done.exception or [f"{r.node.name}: {r.message}" for r in done.result if r.message]
    return done
