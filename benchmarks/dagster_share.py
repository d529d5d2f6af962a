"""What does Dagster cost? The main job, side by side with the same functions and `dbt build` called without it.

Both sides start from an empty home, in processes of their own, one after the other in one run, so that the ratio holds
on a noisy machine. Left out without Dagster: asset events, checks that are no dbt tests, MLflow's tracking, and the
release's evidence, because these are what Dagster is there for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime

from cartograph.lake import Lake
from cartograph.releases import ReleaseInputs, open_store
from cartograph.releases.contents import CHURN_MODEL, CUSTOMERS, EFFECTS, EFFECTS_FILE, write_customers
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
from ml_assets.core.causal.answers import effect_of
from ml_assets.core.causal.effect import Design, answer
from ml_assets.core.causal.panel import choose, email_campaigns, panel
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.customers import customer_features
from ml_assets.core.features.leakage import guard
from ml_assets.core.models import churn
from ml_assets.core.models.churn_scores import CONTRACT, churn_scores
from ml_assets.core.models.classifier_training import train_classifier
from ml_assets.core.registry import Registered

BARE = "--bare"


def main() -> None:
    """Run both sides and print a line for each, and their ratio."""
    with_dagster = timed("with_dagster", [sys.executable, "-c", "from cartograph.cli.app import main; main()", "run"])
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
    """Features and their guard, the churn model and its scores, the campaign's effect, the release."""
    features, names = "features.customer_features", ("fct_orders", "fct_order_items", "fct_refunds", "fct_events")
    selects = {name: lake.relation_sql(f"published.{name}") for name in (*names, "dim_customers", "dim_campaigns")}
    feature_marts = {name: select for name, select in selects.items() if name != "dim_campaigns"}
    dates = [window.end.date() for window in windows]
    lake.ensure(features, CUSTOMER_FEATURES.of(feature_marts).contract(), settings.partition_grain)
    with lake.connect() as connection:
        with lake.overwriting(features, None) as writer:
            for table in customer_features(connection, feature_marts, dates):
                writer.write(table)
        stored = lake.relation_sql(features)
        guard(connection, feature_marts, stored)

        campaign = choose(email_campaigns(connection, selects), "email_winback", dates[-1])
        effect = effect_of(campaign, answer(panel(connection, selects, campaign), Design()), shop.currency)

        trained = train_classifier(
            connection, churn.QUESTION, stored, selects["fct_orders"], dates, data_start=shop.start, data_end=dates[-1]
        )
        model = Registered(churn.NAME, "1", trained.form.content, trained.card)
        lake.ensure("predictions.churn_scores", CONTRACT, settings.partition_grain)
        with lake.overwriting("predictions.churn_scores", None) as writer:
            writer.write(churn_scores(connection, stored, model, dates[-1]))
        released = connection.sql(
            f"""
            SELECT f.customer_id, f.as_of_date AS as_of, r.segment, s.churn_probability, s.churn_model_version,
                f.* EXCLUDE (customer_id, as_of_date)
            FROM ({stored}) f
            LEFT JOIN ({lake.relation_sql("predictions.churn_scores")}) s USING (customer_id, as_of_date)
            LEFT JOIN ({lake.relation_sql("published.rfm_segments")}) r ON r.customer_id = f.customer_id
            WHERE f.as_of_date = DATE '{dates[-1]}'
            """
        ).to_arrow_table()
    inputs = ReleaseInputs(
        as_of=dates[-1],
        window=(windows[0].start, windows[-1].end),
        shop=shop.name,
        snapshots=lake.pin([features]),
        models={churn.NAME: model.version},
        git_commit=None,
        checks=(),
    )
    with open_store(settings).creating(inputs, created_at=windows[-1].end) as draft:
        write_customers(draft.path / CUSTOMERS, released)
        (draft.path / CHURN_MODEL).parent.mkdir()
        (draft.path / CHURN_MODEL).write_bytes(model.content)
        (draft.path / EFFECTS_FILE).write_bytes(EFFECTS.dump_json((effect,)))


if __name__ == "__main__":
    if sys.argv[1:] == [BARE]:
        bare()
    else:
        main()
