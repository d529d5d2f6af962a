"""`cartograph docs` and `dbt source freshness` on a shop that has run."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import psutil
import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from cartograph.shops import load_shop
from ecom_assets.warehouse.publishing import open_warehouse
from tests.support.dbt import call
from tests.support.whole_run import Bench


@pytest.fixture(scope="module")
def bench(small_shop: tuple[Bench, str], tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A shop of its own that has run: dbt opens the warehouse to write, whatever it is asked for."""
    return small_shop[0].copied(tmp_path_factory.mktemp("shop"))


def test_the_site_holds_the_models_and_loads_nothing(bench: Bench) -> None:
    site = bench.settings.dbt_docs_path
    (site.parent / ".docs-of-a-killed-process").mkdir()
    assert str(site) in bench.cartograph("docs")
    page = site.read_text(encoding="utf-8")
    assert "model.cartograph.fct_orders" in page
    assert '"send_anonymous_usage_stats": false' in page, "the page would report to dbt's makers otherwise"
    assert not re.findall(r"<(?:script|iframe|img)[^>]+src=[\"']?(?:https?:)?//", page)
    assert not re.findall(r"<link[^>]+href=[\"']?(?:https?:)?//", page)
    assert not re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", page)
    assert sorted(p.name for p in site.parent.glob(".docs-*")) == [], "nothing is left of this one's work, or another's"


def test_while_the_dbt_of_a_killed_call_is_at_work_another_is_told_to_wait(bench: Bench) -> None:
    with subprocess.Popen(bench.command("docs"), env=bench.environment, stdout=subprocess.DEVNULL) as process:
        calls = Retrying(
            retry=retry_if_result(lambda found: not found), stop=stop_after_delay(60), wait=wait_fixed(0.05)
        )
        (dbt,) = calls(lambda: [one for one in psutil.Process(process.pid).children() if "generate" in one.cmdline()])
        dbt.suspend()
        process.kill()
    printed = bench.cartograph("docs", expect=2)
    dbt.kill()
    psutil.wait_procs([dbt], timeout=30)
    assert "Another run" in printed
    assert bench.cartograph("docs")


def test_dbt_by_hand_works_on_the_warehouse_of_the_chosen_shop(bench: Bench) -> None:
    printed = bench.cartograph("dbt", "show", "--quiet", "--inline", "select count(*) as orders from marts.fct_orders")
    with open_warehouse(bench.settings) as connection:
        ((orders,),) = connection.execute("SELECT count(*) FROM marts.fct_orders").fetchall()
    assert str(orders) in printed.split()
    assert "No such option '--nonsense'" in bench.cartograph("dbt", "ls", "--nonsense", expect=2)


def test_a_shop_without_a_warehouse_is_told_to_run(tmp_path: Path) -> None:
    bench = Bench.with_small_shop(tmp_path)
    printed = bench.cartograph("docs", expect=2)
    assert "`cartograph run` builds it" in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(("grain", "days"), [("monthly", 33), ("daily", 3)])
def test_source_freshness_tells_when_a_dataset_was_loaded_last(
    bench: Bench, tmp_path: Path, grain: str, days: int
) -> None:
    settings = bench.settings.model_copy(update={"partition_grain": grain})
    folders = {"DBT_TARGET_PATH": str(tmp_path), "DBT_LOG_PATH": str(tmp_path)}
    done = call(settings, "source", "freshness", variables=folders)
    assert done.success, done.exception
    results = json.loads((tmp_path / "sources.json").read_bytes())["results"]
    asked = {result["unique_id"].rsplit(".", 1)[1]: result for result in results}
    assert set(asked) == load_shop(settings).datasets - {"products", "campaigns", "experiment_assignments"}
    assert {result["status"] for result in results} == {"pass"}
    assert asked["orders"]["criteria"]["warn_after"] == {"count": days, "period": "day"}
