"""What does the warehouse cost? Its star built in full, its newest window refreshed, and questions asked of it.

full: the star of a shop with so many order lines (6 tables), built by hand-tuned DuckDB SQL, by `dbt run` and through
Dagster, none of which runs a test or check, in processes of their own from the same lake, one after the other; the
facts must have equal content.
postgres: the same star by `dbt run` in the PostgreSQL that libpq's variables lead to, after copying the raw tables.
refresh: the newest month by `dbt run`, with 6, 24 and 60 months of history of 100,000 lines each.
questions: what dashboards ask of the published marts of a home: milliseconds at the median and the 95th percentile.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
from support.large_shop import DATASETS, large_shop
from support.processes import watched

from cartograph.lake import Lake
from cartograph.settings import Settings, get_settings
from cartograph.windows import Window, windows
from ecom_assets.warehouse.dbt_project import (
    PARSED_DBT,
    PARSED_VARIABLE,
    PROJECT_DIR,
    dbt_environment,
    dbt_executable,
    dbt_home,
    parsed_project,
)
from ecom_assets.warehouse.lake_views import pinned_views, write_views
from ecom_assets.warehouse.raw_copy import copy_raw

STAR = ("dim_customers", "dim_products", "dim_geographies", "fct_orders", "fct_order_items", "agg_daily_sales")
COMPARED = {
    "fct_orders": ("order_id", "customer_key", "order_date", "item_quantity", "total_amount", "is_cancelled"),
    "fct_order_items": ("order_item_key", "customer_key", "product_key", "net_amount", "cost_amount", "is_cancelled"),
    "agg_daily_sales": ("order_date", "orders_count", "customers_count", "units", "revenue_amount"),
}
"""The columns in which the sides must agree, by table."""
LINES_A_MONTH = 100_000
MEMORY_LIMIT = "8GB"
"""Of DuckDB, on each side. By hand, 50 million lines do not fit in the default of 4 GB; dbt builds them in it, too."""
ASKED = 30


def main() -> None:
    """Run what was asked for and print lines of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="*", default=[1_000_000, 10_000_000], help="Sizes of full builds.")
    parser.add_argument("--postgres", type=int, nargs="*", default=[], help="Sizes of full builds in PostgreSQL.")
    parser.add_argument("--months", type=int, nargs="*", default=[6, 24, 60], help="Histories of refreshes.")
    parser.add_argument("--home", type=Path, help="A home in which `cartograph run` was done, to ask questions of.")
    parser.add_argument("--child", choices=sorted(CHILDREN), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        CHILDREN[given.child](get_settings())
        return
    for lines in given.lines:
        full(lines)
    for lines in given.postgres:
        in_postgres(lines)
    refreshes(given.months)
    if given.home:
        ask(Lake.from_settings(Settings(home=given.home)))


def report(**figures: object) -> None:
    """Print one line of JSON."""
    print(json.dumps({"benchmark": "warehouse", **figures}), flush=True)


def full(lines: int) -> None:
    """Build the star of a shop of `lines` order lines three times."""
    with tempfile.TemporaryDirectory() as folder:
        settings = large_shop(Path(folder), lines, months=24)
        parsed_project(settings, DATASETS)  # once for a version of the project, so it counts for no side
        contents, seconds = {}, {}
        for side in ("sql", "dbt", "dagster"):
            settings.warehouse_path.unlink(missing_ok=True)
            figures = watched([sys.executable, __file__, "--child", side], environment(settings))
            contents[side], seconds[side] = content(settings), figures["seconds"]
            rate = round(lines / figures["seconds"])
            report(question="full", side=side, order_lines=lines, **figures, lines_a_second=rate)
        assert contents["sql"] == contents["dbt"] == contents["dagster"], contents
        ratios = {side: round(seconds[side] / seconds["sql"], 2) for side in ("dbt", "dagster")}
        report(question="full", order_lines=lines, ratio_to_sql=ratios)


def in_postgres(lines: int) -> None:
    """Copy the raw tables of a shop of `lines` order lines into PostgreSQL and build the star there; beside DuckDB."""
    with tempfile.TemporaryDirectory() as folder:
        settings = large_shop(Path(folder), lines, months=24)
        parsed_project(settings, DATASETS)
        for side in ("dbt", "postgres_copy", "postgres"):
            figures = watched([sys.executable, __file__, "--child", side], environment(settings))
            report(question="postgres", side=side, order_lines=lines, **figures)


def refreshes(histories: list[int]) -> None:
    """Refresh the newest month of shops with longer and longer histories."""
    seconds = {}
    for months in histories:
        with tempfile.TemporaryDirectory() as folder:
            settings = large_shop(Path(folder), LINES_A_MONTH * months, months)
            watched([sys.executable, __file__, "--child", "dbt"], environment(settings))  # parses, builds all
            figures = watched([sys.executable, __file__, "--child", "dbt_newest"], environment(settings))
        seconds[months] = figures["seconds"]
        report(question="refresh", months=months, **figures)
    if len(seconds) > 1:
        first, last = min(seconds), max(seconds)
        report(question="refresh", ratio=round(seconds[last] / seconds[first], 2), months=[first, last])


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a child that works on the shop of `settings`."""
    chosen = {f"CARTOGRAPH_{name.upper()}": str(getattr(settings, name)) for name in ("home", "shop", "shops_dir")}
    return {**os.environ, **chosen, "OMP_NUM_THREADS": "1", "CARTOGRAPH_DUCKDB_MEMORY_LIMIT": MEMORY_LIMIT}


def content(settings: Settings) -> dict[str, tuple[object, ...]]:
    """Row count and a sum of row hashes of each table that is compared."""
    with duckdb.connect(settings.warehouse_path, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return {
            table: connection.execute(
                f"SELECT count(*), sum(hash(t)) FROM (SELECT {', '.join(columns)} FROM marts.{table}) AS t"
            ).fetchall()[0]
            for table, columns in COMPARED.items()
        }


def ask(lake: Lake) -> None:
    """Ask each question of the published marts, again and again, on one connection."""
    with lake.connect() as connection:
        connection.execute("SET threads = 2")
        tables = [info.identifier for info in lake.tables() if info.identifier.startswith("published.")]
        marts = {table.removeprefix("published."): f"({lake.relation_sql(table)})" for table in tables}
        for name, template in QUESTIONS.items():
            question, milliseconds = template.format(**marts), []
            for _ in range(ASKED):
                began = time.perf_counter()
                connection.execute(question).fetchall()
                milliseconds.append(1000 * (time.perf_counter() - began))
            p95 = statistics.quantiles(milliseconds, n=20)[-1]
            report(question=name, p50_ms=round(statistics.median(milliseconds), 1), p95_ms=round(p95, 1))


QUESTIONS = {
    "revenue_trend": """
        SELECT date_trunc('month', order_date) AS month, sum(net_revenue_amount), sum(orders_count)
        FROM {agg_daily_sales} GROUP BY month ORDER BY month""",
    "top_products": """
        SELECT product_name, sum(net_amount - refunded_amount) AS net, sum(units)
        FROM {agg_product_performance} AS sold JOIN {dim_products} AS products USING (product_id)
        WHERE is_current AND sales_date >= DATE '2025-10-01' GROUP BY product_name ORDER BY net DESC LIMIT 20""",
    "cohorts": "SELECT cohort_month, months_since, retention_ratio FROM {customer_cohorts} ORDER BY ALL",
    "funnel": """
        SELECT channel, device, sum(sessions_count), sum(cart_sessions_count), sum(purchase_sessions_count)
        FROM {conversion_funnel} WHERE session_date >= DATE '2025-10-01' GROUP BY ALL ORDER BY ALL""",
    "places": """
        SELECT country, city, sum(net_revenue_amount) AS net FROM {sales_by_geography}
        GROUP BY ALL ORDER BY net DESC LIMIT 20""",
    "return_on_ad_spend": """
        SELECT channel, method, sum(revenue_amount) / nullif(sum(spend_amount), 0) FROM {channel_attribution}
        GROUP BY ALL ORDER BY ALL""",
    "segments": "SELECT segment, count(*), sum(monetary_amount) FROM {rfm_segments} GROUP BY ALL ORDER BY ALL",
    "stock_to_reorder": """
        SELECT product_name, quantity_on_hand, cover_days FROM {inventory_status}
        WHERE stock_status IN ('out_of_stock', 'low') ORDER BY cover_days""",
    "busy_hours": "SELECT day_of_week, hour_of_day, average_orders FROM {weekday_sales} ORDER BY ALL",
    "one_customers_orders": """
        SELECT o.order_id, o.ordered_at, o.total_amount, count(*) FROM {fct_orders} AS o
        JOIN {fct_order_items} AS i USING (order_id) WHERE o.customer_id = 'C00000008' GROUP BY ALL ORDER BY 2 DESC""",
}


# --- the sides, each in a process of its own


def by_dbt(settings: Settings, window: Window | None = None, target: str = "duckdb") -> None:
    """`dbt run` on the star."""
    parsed = parsed_project(settings, DATASETS)
    views_file = dbt_home(settings) / "lake_views.json"
    write_views(pinned_views(Lake.from_settings(settings), DATASETS), views_file)
    variables = dbt_environment(settings, DATASETS, window=window, views_file=views_file)
    folders = {"DBT_TARGET_PATH": str(dbt_home(settings) / target), "DBT_LOG_PATH": str(dbt_home(settings) / "logs")}
    dbt = [sys.executable, *PARSED_DBT] if target == "duckdb" else [dbt_executable()]
    subprocess.run(
        [*dbt, "run", "--quiet", "--target", target, "--select", *(f"+{model}" for model in STAR)],
        cwd=PROJECT_DIR,
        env={**os.environ, **variables, **folders, PARSED_VARIABLE: str(parsed)},
        check=True,
    )


def by_postgres(settings: Settings) -> None:
    """`dbt run` on the star in PostgreSQL; the project is parsed for it, which takes some seconds."""
    by_dbt(settings, target="postgres")


def by_postgres_copy(settings: Settings) -> None:
    """The raw tables, copied from the lake into PostgreSQL."""
    lake = Lake.from_settings(settings)
    copy_raw(lake, pinned_views(lake, DATASETS))


def by_dbt_newest(settings: Settings) -> None:
    """`dbt run` on the newest month of the star."""
    from cartograph.shops import load_shop

    *_, newest = windows(load_shop(settings).span.start, load_shop(settings).span.end, "monthly")
    by_dbt(settings, newest)


def by_dagster(settings: Settings) -> None:
    """The star's assets in a run on an instance in the home, without their checks as `dbt run` is without tests."""
    from ecom_assets.defs.dbt.warehouse import warehouse_definitions

    keys = [dg.AssetKey(["marts", model]) for model in STAR]
    selection = dg.AssetSelection.assets(*keys).upstream().without_checks()
    job = dg.define_asset_job("star_job", selection=selection)
    definitions = dg.Definitions.merge(warehouse_definitions(), dg.Definitions(jobs=[job]))
    star = definitions.resolve_job_def("star_job")
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    graph = definitions.resolve_asset_graph()
    months = graph.get(dg.AssetKey(["marts", "fct_orders"])).partitions_def.get_partition_keys()
    tags = {"dagster/asset_partition_range_start": months[0], "dagster/asset_partition_range_end": months[-1]}
    with dg.DagsterInstance.local_temp(str(settings.dagster_home)) as instance:
        star.execute_in_process(instance=instance, tags=tags)


def by_sql(settings: Settings) -> None:
    """The same star by DuckDB SQL as one would write it by hand: each raw table is read and cleaned once."""
    lake = Lake.from_settings(settings)
    with duckdb.connect(settings.warehouse_path) as connection:
        lake.configure(connection)
        connection.execute(f"SET TimeZone = 'UTC'; SET threads = {settings.duckdb_threads}")
        connection.execute(f"SET memory_limit = '{settings.duckdb_memory_limit}'; SET asof_loop_join_threshold = 0")
        raw = {dataset: lake.relation_sql(f"raw.{dataset}") for dataset in DATASETS}
        connection.execute((Path(__file__).parent / "support" / "star.sql").read_text(encoding="utf-8").format(**raw))


CHILDREN: dict[str, Callable[[Settings], None]] = {
    "dbt": by_dbt,
    "dbt_newest": by_dbt_newest,
    "dagster": by_dagster,
    "sql": by_sql,
    "postgres": by_postgres,
    "postgres_copy": by_postgres_copy,
}


if __name__ == "__main__":
    main()
