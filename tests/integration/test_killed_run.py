"""A run that is killed at any moment loses nothing and doubles nothing: the next run gives the same marts."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from cartograph.lake import Lake
from cartograph.releases import open_store
from tests.support import forked
from tests.support.whole_run import Bench, content

KILLS = 10
RUN_SECONDS = 20
"""By then a run has loaded, and is building, testing or publishing; one that ends before its kill counts as well."""
REPEATED = ("raw", "published", "features", "predictions")
"""The namespaces whose tables do not depend on which runs were before."""
ALL = (*REPEATED, "quarantine", "truth")


@pytest.fixture(scope="module")
def survivor(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A bench whose run was killed ten times and then came to its end."""
    bench = Bench.with_small_shop(tmp_path_factory.mktemp("survivor"))
    moments = random.Random(20240101)
    for _ in range(KILLS):
        seconds = moments.uniform(0, RUN_SECONDS)
        forked.call(["run"], env=bench.environment, cwd=bench.root, output=Path(os.devnull), seconds=seconds)
    bench.cartograph("run")
    return bench


def data_files(bench: Bench, table: str) -> set[str]:
    """The data files of a table's current snapshot."""
    return set(re.findall(r"[^'\"]+\.parquet", Lake.from_settings(bench.settings).relation_sql(table)))


def assert_equal(found: dict[str, str], expected: dict[str, str]) -> None:
    """The same tables with the same rows; a failure names those that differ, and no others."""
    assert {table: rows for table, rows in found.items() if expected.get(table) != rows} == {}
    assert found.keys() == expected.keys()


def test_ten_kills_change_nothing(survivor: Bench, request: pytest.FixtureRequest) -> None:
    undisturbed, _ = request.getfixturevalue("small_shop")  # late, so that another process makes it meanwhile
    assert_equal(content(survivor.settings, *REPEATED), content(undisturbed.settings, *REPEATED))


def test_running_a_later_partition_again_changes_nothing_and_leaves_the_earlier(survivor: Bench) -> None:
    before, release = content(survivor.settings, *ALL), open_store(survivor.settings).current()
    tables = ("raw.orders", "raw.events", "published.fct_orders", "published.fct_order_items")
    files = {table: data_files(survivor, table) for table in tables}
    survivor.cartograph("run", "--from", "2024-12-01")
    assert_equal(content(survivor.settings, *ALL), before)
    assert open_store(survivor.settings).current() == release
    for table in tables:
        assert len(files[table] & data_files(survivor, table)) == 11, f"{table} keeps the files of the earlier months"
