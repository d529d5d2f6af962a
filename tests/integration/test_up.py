"""`cartograph up` as a person meets it: the UI in a real browser launches runs, the API answers, Ctrl-C ends it all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.whole_run import Bench, up

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
RUN_MILLISECONDS = 240_000
PAGE_MILLISECONDS = 60_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)")


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        opened = browser.new_page(viewport={"width": 1600, "height": 1000})
        opened.set_default_timeout(PAGE_MILLISECONDS)
        yield opened
        browser.close()


def launch(page: Page, asset: str, partitions: str | None, button: str) -> None:
    """Materialise an asset from its page in the UI; `partitions` as one types them there."""
    page.goto(asset)
    page.get_by_role("button", name="Materialize").first.click()
    if partitions is not None:
        page.get_by_placeholder("ex: ").fill(partitions)
        page.get_by_placeholder("ex: ").press("Enter")
        page.get_by_role("button", name=button).click()
    launched = page.get_by_text("Launched").or_(page.get_by_text("Created backfill")).first
    expect(launched).to_be_visible(timeout=PAGE_MILLISECONDS)


def test_ui_launches_runs_and_everything_stops(tmp_path: Path, page: Page) -> None:
    bench = Bench.with_small_shop(tmp_path, customers=50, end="2024-05-01")
    with up(bench) as process:
        launch_and_stop(bench, process, page)


def launch_and_stop(bench: Bench, process: subprocess.Popen[str], page: Page) -> None:
    dagster = f"http://127.0.0.1:{bench.variables['CARTOGRAPH_DAGSTER_PORT']}"
    with urllib.request.urlopen(f"http://127.0.0.1:{bench.variables['CARTOGRAPH_API_PORT']}/health") as answer:
        assert answer.status == 200

    launch(page, f"{dagster}/assets/truth/customers", None, "")
    launch(page, f"{dagster}/assets/raw/products", "2024-01-01", "Launch 1 run")
    launch(page, f"{dagster}/assets/raw/products", "[2024-02-01...2024-04-01]", "Launch backfill")
    page.goto(f"{dagster}/runs")
    done = page.get_by_text("Success", exact=True).or_(page.get_by_text("Completed", exact=True))
    expect(done).to_have_count(3, timeout=RUN_MILLISECONDS)

    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
