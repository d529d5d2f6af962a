"""The dbt command as a Dagster resource."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version

from dagster_dbt import DbtCliResource
from packaging.version import Version

from ecom_assets.warehouse.dbt_project import PARSED_DBT, PROJECT_DIR


class InstalledDbt(DbtCliResource):
    """The dbt of this Python environment, whose version is known without asking it: `dbt --version` takes 4 seconds."""

    @cached_property
    def _cli_version(self) -> Version:
        return Version(version("dbt-core"))

    def _initialize_dbt_core_adapter(self, _: Sequence[str]) -> None:  # type: ignore[override]
        """None: with an adapter Dagster asks the warehouse after each model, and it takes 2 s to make.

        What is told of the tables is read once, after dbt (ADR 12).
        """


def dbt_resource() -> InstalledDbt:
    """dbt on this repository's project as it was parsed."""
    return InstalledDbt(
        project_dir=str(PROJECT_DIR),
        profiles_dir=str(PROJECT_DIR),
        dbt_executable=sys.executable,
        global_config_flags=list(PARSED_DBT),
    )
