"""The warehouse without Dagster: how dbt is called, what it reads, and how its marts are written to the lake.

What a mart means is SQL, in `dbt_project/`; the assets are in `ecom_assets.defs.dbt` and `ecom_assets.defs.publishing`.
"""
