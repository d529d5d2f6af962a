"""`cartograph docs`: the site of dbt's documentation for the chosen shop."""

from __future__ import annotations

from cartograph.cli.console import output, say
from cartograph.cli.instance import only_run
from cartograph.settings import load_settings
from cartograph.shops import load_shop


def docs() -> None:
    """Build the site of dbt's documentation: models, columns, tests and lineage, in one file that needs no network."""
    from ecom_assets.warehouse.dbt_project import require_warehouse, write_docs

    settings = load_settings()
    datasets = load_shop(settings).datasets
    require_warehouse(settings)
    with only_run(settings) as lock, output.status("documenting"):
        path = write_docs(settings, datasets, lock)
    say(f"[green]✓[/] {path}")
    say(f"next     `cartograph up` shows it at {settings.dbt_docs_url}; the assets in the Dagster UI link there")
