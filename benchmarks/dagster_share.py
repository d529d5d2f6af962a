"""What does Dagster cost? The main job, side by side with the same functions and `dbt build` called without it.

Of the main job: all loads, dbt, all published marts, and the customers' models with their features and predictions.
Both sides start from an empty home, in processes of their own, one after the other in one run, so that the ratio holds
on a noisy machine. Left out without Dagster: asset events, checks that are no dbt tests, and MLflow's tracking, because
these are what Dagster is there for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from cartograph.contracts import Contract
from cartograph.lake import Lake
from cartograph.settings import Settings, get_settings
from cartograph.shops import Shop, load_shop
from cartograph.windows import Window
from ecom_assets.attribution import markov
from ecom_assets.contracts import CONTRACTS
from ecom_assets.ingestion import Batch, load, quarantine_summary
from ecom_assets.simulator import TRUTH_CONTRACTS, SimulatedShop, SimulatorConfig
from ecom_assets.warehouse.dbt_project import (
    PARSED_DBT,
    PARSED_VARIABLE,
    PROJECT_DIR,
    dbt_environment,
    dbt_home,
    parsed_project,
    read_manifest,
)
from ecom_assets.warehouse.lake_views import pinned_views, write_views
from ecom_assets.warehouse.marts import marts
from ecom_assets.warehouse.publishing import open_warehouse, publish
from ml_assets.core.causal.study import Design
from ml_assets.core.features import customers, products
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.leakage import guard
from ml_assets.core.models import (
    campaign_uplift,
    churn,
    churn_scores,
    clv,
    customer_segments,
    lifetime_values,
    next_best_actions,
    propensities,
    propensity,
    segments,
)
from ml_assets.core.models.classifier_training import train_classifier
from ml_assets.core.registry import Registered

BARE = "--bare"
CARTOGRAPH = (sys.executable, "-c", "from cartograph.cli import main; main()")
PREDICTIONS = (churn_scores, propensities, customer_segments, lifetime_values, next_best_actions)
CHOSEN = (
    'key:"truth/*"',
    'key:"quarantine/*"',
    '+key:"published/*"',
    'key:"features/product_features"',
    *(f'+key:"predictions/{module.CONTRACT.dataset}"' for module in PREDICTIONS),
)
"""What both sides make."""
DESIGNS = {"email_spring": Design(is_randomised=True)}


def main() -> None:
    """Run both sides and print a line for each, and their ratio."""
    with_dagster = timed("with_dagster", [*CARTOGRAPH, "run", "--select", " or ".join(CHOSEN)])
    without = timed("without_dagster", [sys.executable, __file__, BARE])
    print(json.dumps({"benchmark": "dagster_share", "ratio": round(with_dagster / without, 2)}), flush=True)


def timed(side: str, command: list[str]) -> float:
    """Run `command` in an empty home and print its seconds."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "CARTOGRAPH_HOME": home,
            "CARTOGRAPH_SHOP": "simulated",
            "OMP_NUM_THREADS": "1",
        }
        began = time.perf_counter()
        subprocess.run(command, env=environment, stdout=sys.stderr, check=True)
        seconds = time.perf_counter() - began
    print(json.dumps({"benchmark": "dagster_share", "side": side, "seconds": round(seconds, 1)}), flush=True)
    return seconds


def bare() -> None:
    """All that the assets of both locations do, in their order."""
    settings = get_settings()
    shop, lake = load_shop(settings), Lake.from_settings(settings)
    settings.shop_home.mkdir(parents=True)
    now = datetime.now(UTC)
    windows = shop.windows(settings.partition_grain, now)
    ingest(settings, shop, lake, windows, Batch(ingested_at=now, batch_id="bare"))
    build_warehouse(settings, shop, lake, windows)
    learn(settings, shop, lake, windows)


def ingest(settings: Settings, shop: Shop, lake: Lake, windows: list[Window], batch: Batch) -> None:
    """Load all datasets and the truth."""
    assert shop.end is not None
    given = shop.sources[0].attributes
    source = SimulatedShop(
        SimulatorConfig(customers=int(given["customers"]), seed=int(given["seed"]), start=shop.start, end=shop.end)
    )
    for contract in CONTRACTS.values():
        load(lake, source, contract, windows, shop_window=shop.span, grain=settings.partition_grain, batch=batch)
        quarantine_summary(lake, contract.dataset)
    for name, rows in source.truth().items():
        lake.ensure(f"truth.{name}", TRUTH_CONTRACTS[name], None)
        with lake.overwriting(f"truth.{name}", None) as writer:
            writer.write(rows)


def build_warehouse(settings: Settings, shop: Shop, lake: Lake, windows: list[Window]) -> None:
    """Run `dbt build` on the pinned lake, publish the marts, and credit the channels."""
    span = Window(windows[0].start, windows[-1].end)
    parsed = parsed_project(settings, shop.datasets)
    views_file = dbt_home(settings) / "lake_views.json"
    write_views(pinned_views(lake, shop.datasets), views_file)
    environment = dbt_environment(settings, shop.datasets, window=span, views_file=views_file)
    folders = {name: str(dbt_home(settings) / "run") for name in ("DBT_TARGET_PATH", "DBT_LOG_PATH")}
    subprocess.run(
        [sys.executable, *PARSED_DBT, "build", "--exclude-resource-type", "unit_test", "--quiet"],
        cwd=PROJECT_DIR,
        env={**os.environ, **environment, **folders, PARSED_VARIABLE: str(parsed)},
        stdout=sys.stderr,
        check=True,
    )
    with open_warehouse(settings) as warehouse:
        for mart in marts(read_manifest(parsed)):
            window = span if mart.contract.event_time is not None else None
            publish(warehouse, lake, mart, grain=settings.partition_grain, window=window)
    won, lost = (lake.relation_sql(f"published.{name}") for name in ("order_touches", "abandoned_touches"))
    lake.ensure("published.markov_attribution", markov.CONTRACT, None)
    with lake.connect() as connection, lake.overwriting("published.markov_attribution", None) as writer:
        writer.write(markov.attribute(connection, won, lost))


def learn(settings: Settings, shop: Shop, lake: Lake, windows: list[Window]) -> None:
    """Features and their guards, the models and their predictions."""
    names = {*customers.OPTIONAL_MARTS, *customers.REQUIRED_MARTS, *products.OPTIONAL_MARTS}
    everything = {name: lake.relation_sql(f"published.{name}") for name in (*sorted(names), "dim_campaigns")}
    orders, dates = everything["fct_orders"], [window.end.date() for window in windows]
    with lake.connect() as connection:
        tables: list[tuple[str, Any, Any, Any, Any]] = [
            ("customer_features", customers, CUSTOMER_FEATURES, customers.customer_features, customers.feature_table),
            (
                "product_features",
                products,
                products.PRODUCT_FEATURES,
                products.product_features,
                products.product_table,
            ),
        ]
        for name, module, features, compute, whole in tables:
            marts_of = {mart: everything[mart] for mart in (*module.REQUIRED_MARTS, *module.OPTIONAL_MARTS)}
            write(
                settings,
                lake,
                f"features.{name}",
                features.of(marts_of).contract(),
                compute(connection, marts_of, dates),
            )
            guard(connection, marts_of, lake.relation_sql(f"features.{name}"), whole)

        stored = lake.relation_sql("features.customer_features")
        known = {"data_start": shop.start, "data_end": dates[-1]}
        churned = train_classifier(connection, churn.QUESTION, stored, orders, dates, **known)
        bought = train_classifier(connection, propensity.QUESTION, stored, orders, dates, **known)
        segmented = segments.train(connection, stored, orders, dates, data_end=dates[-1], earlier=None)
        valued = clv.train(connection, stored, everything, dates, **known)
        advised = campaign_uplift.train(connection, everything, DESIGNS, dates[-1])
        made = [
            (Registered(churn.NAME, "1", churned.form.content, churned.card), churn_scores),
            (Registered(propensity.NAME, "1", bought.form.content, bought.card), propensities),
            (Registered(segments.NAME, "1", segmented.model.to_bytes(), segmented.card), customer_segments),
            (Registered(clv.NAME, "1", valued.model.to_bytes(), valued.card), lifetime_values),
            (Registered(campaign_uplift.NAME, "1", advised.model.to_bytes(), advised.card), next_best_actions),
        ]
        for model, module in made:
            name = module.CONTRACT.dataset
            rows = getattr(module, name)(connection, stored, model, dates[-1])
            write(settings, lake, f"predictions.{name}", module.CONTRACT, [rows])


def write(settings: Settings, lake: Lake, identifier: str, contract: Contract, rows: Iterable[pa.Table]) -> None:
    """Write a table of the lake anew."""
    lake.ensure(identifier, contract, settings.partition_grain)
    with lake.overwriting(identifier, None) as writer:
        for table in rows:
            writer.write(table)


if __name__ == "__main__":
    if sys.argv[1:] == [BARE]:
        bare()
    else:
        main()
