"""`cartograph dbt`: dbt itself, told which shop, datasets and warehouse it works on."""

from __future__ import annotations

import os
import subprocess

import typer

from cartograph.cli import EXIT_INTERRUPTED
from cartograph.cli.console import errors
from cartograph.cli.instance import only_run
from cartograph.settings import load_settings
from cartograph.shops import load_shop

NEEDS_NO_WAREHOUSE = frozenset({"parse", "list", "ls", "clean", "deps", "init", "--help", "--version"})
"""What dbt is called with where it opens no warehouse."""


def dbt(context: typer.Context) -> None:
    """Call dbt on the shop's warehouse, e.g. `cartograph dbt build --select fct_orders+`, or with `--target postgres`.

    All arguments are dbt's. Dagster's assets hear nothing of it, so nothing that it writes is published:
    `cartograph run`, the main job, makes the tables anew.
    """
    from ecom_assets.warehouse.dbt_project import (
        PROJECT_DIR,
        dbt_environment,
        dbt_executable,
        dbt_home,
        require_free,
    )
    from ecom_assets.warehouse.dbt_vars import require_known_vars, with_vars
    from ecom_assets.warehouse.targets import chosen_target, require_usable
    from ecom_assets.warehouse.unrecorded import WRITING, begin

    settings = load_settings()
    shop = load_shop(settings)
    require_known_vars(shop)
    folder = dbt_home(settings) / "by_hand"
    folder.mkdir(parents=True, exist_ok=True)
    folders = {"DBT_TARGET_PATH": str(folder), "DBT_LOG_PATH": str(folder)}
    environment = {**os.environ, **dbt_environment(settings, shop.datasets), **folders}
    writes = False
    if target := chosen_target(context.args, environment):
        require_usable(target, environment)
        if target.adapter == "duckdb" and not NEEDS_NO_WAREHOUSE.intersection(context.args):
            require_free(settings.warehouse_path)
            writes = not WRITING.isdisjoint(context.args)
    with only_run(settings) as lock:
        if writes:
            begin(settings, "`cartograph dbt`", None)
        with subprocess.Popen(
            [dbt_executable(), *with_vars(context.args, shop.dbt_vars)],
            cwd=PROJECT_DIR,
            env=environment,
            pass_fds=(lock.fileno(),),
            process_group=0,
        ) as process:
            try:
                process.wait()
            except KeyboardInterrupt:
                process.terminate()  # of an interrupt, dbt shows the traceback
                errors.print("[yellow]Stopped.[/] The models that were finished are kept.")
                raise typer.Exit(EXIT_INTERRUPTED) from None
    raise typer.Exit(process.returncode)
