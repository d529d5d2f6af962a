"""The commands that need no run: what they print for a shop that has no state yet, and for files that are wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.whole_run import Bench

ROOT = Path(__file__).parents[2]


@pytest.fixture
def corner_shop(tmp_path: Path) -> Bench:
    return Bench.with_corner_shop(tmp_path)


def test_a_shop_without_state_is_looked_at_without_making_any(corner_shop: Bench) -> None:
    assert "corner_shop" in corner_shop.cartograph("shops", "list")
    assert json.loads(corner_shop.cartograph("status", "--json"))["release"] is None
    assert "cartograph run" in corner_shop.cartograph("status")
    assert not (corner_shop.root / "home").exists()


def test_what_needs_a_load_says_so_where_there_was_none_and_makes_nothing(corner_shop: Bench) -> None:
    for arguments in (("repair",), ("repair", "--dry-run"), ("erase", "--customer", "7", "--reason", "request 1")):
        printed = corner_shop.cartograph(*arguments, expect=2)
        assert "has loaded nothing yet" in printed
        assert "Traceback" not in printed
    assert not (corner_shop.root / "home").exists()


def test_the_example_shop_is_sound(corner_shop: Bench) -> None:
    printed = corner_shop.cartograph("shops", "check")
    assert "order_items" in printed
    assert "events is not delivered, which switches off" in printed


def test_a_shop_of_which_no_partition_has_ended_is_checked_all_the_same(corner_shop: Bench) -> None:
    mapping = corner_shop.root / "docs/examples/corner_shop/corner_shop.yaml"
    kept = [
        line for line in mapping.read_text(encoding="utf-8").splitlines() if not line.startswith(("start:", "end:"))
    ]
    mapping.write_text("\n".join(["start: 2999-01-15", *kept]), encoding="utf-8")
    printed = corner_shop.cartograph("shops", "check", expect=1)
    assert re.search(r"products from FilesSource: [1-9]", printed)
    assert "A run would stop: corner_shop has no ended monthly partition yet" in printed
    assert "ends on 2999-02-01." in printed
    assert "no ended partition yet" in corner_shop.cartograph("run", expect=2)


def test_a_damaged_file_is_named_and_the_rest_is_read(corner_shop: Bench) -> None:
    (corner_shop.root / "docs/examples/corner_shop/data/sales/broken.csv").write_bytes(b"number;when\n1;2024-01-01\n")
    printed = corner_shop.cartograph("shops", "check", expect=1)
    assert "A run would stop: a column that orders takes is missing in broken.csv." in printed
    assert "Traceback" not in printed


def test_a_file_that_nobody_can_read_stops_no_run(corner_shop: Bench) -> None:
    (corner_shop.root / "docs/examples/corner_shop/data/sales/empty.csv").touch()
    assert "A run would go on, without 1 unreadable." in corner_shop.cartograph("shops", "check")


def test_a_missing_folder_is_named_with_the_cure(corner_shop: Bench) -> None:
    shutil.rmtree(corner_shop.root / "docs/examples/corner_shop/data")
    printed = corner_shop.cartograph("shops", "check", expect=1)
    assert "people.jsonl" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("before", "after", "message", "status"),
    [
        ("ecom_assets.components.FilesSource", "ecom_assets.components.FileSource", "there is no source", 2),
        ("delimiter:", "delimeter:", "corner_shop.yaml: The FilesSource", 2),
        ("FROM sold", "FROM sould", "sould", 1),
    ],
)
def test_a_mistake_in_the_shop_file_is_named(
    corner_shop: Bench, before: str, after: str, message: str, status: int
) -> None:
    path = corner_shop.root / "docs/examples/corner_shop/corner_shop.yaml"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    printed = corner_shop.cartograph("shops", "check", expect=status)
    assert message in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("location", ["ecom_assets", "ml_assets"])
def test_dg_checks_the_definitions_of_each_location(location: str) -> None:
    dg = Path(sys.executable).with_name("dg")
    done = subprocess.run([dg, "check", "defs"], cwd=ROOT / location, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_left_out_file_and_quarantined_rows_are_told_by_the_run(corner_shop: Bench) -> None:
    data = corner_shop.root / "docs/examples/corner_shop/data"
    (data / "sales" / "broken.csv").write_bytes(b"")
    printed = corner_shop.cartograph("run", "--select", 'group:"raw"')
    assert "broken.csv" in printed
    people = data / "people.jsonl"
    people.write_text(people.read_text(encoding="utf-8").replace('"since": "', '"since": "x'), encoding="utf-8")
    printed = corner_shop.cartograph("run", "--select", 'group:"raw"', expect=1)
    assert "raw/customers" in printed
    assert "CARTOGRAPH_QUARANTINE_LIMIT_PCT" in printed
    assert "What to do: docs/runbook.md#quarantine_within_limit" in printed
    assert "Traceback" not in printed


def test_a_damaged_run_history_is_named(corner_shop: Bench) -> None:
    history = corner_shop.root / "home" / "corner_shop" / "dagster" / "history"
    history.mkdir(parents=True)
    (history.parent / "dagster.yaml").write_text("", encoding="utf-8")
    (history / "runs.db").write_bytes(b"garbage" * 1000)
    printed = corner_shop.cartograph("status", expect=2)
    assert str(history.parent) in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("asset", ["marts/rfm_segments", "published/fct_orders"])
def test_a_part_of_a_shop_that_was_never_loaded_is_answered_with_the_cause_and_the_cure(
    corner_shop: Bench, asset: str
) -> None:
    printed = corner_shop.cartograph("run", "--select", f'key:"{asset}"', expect=1)
    (told,) = (line for line in printed.splitlines() if "failed." in line)
    assert "`cartograph run`" in told
    assert "SELECT" not in printed.upper().replace("--SELECT", "")
    assert "LINE 1" not in printed


def test_a_wrong_value_in_a_variable_of_a_shop_file_is_told_without_a_traceback(tmp_path: Path) -> None:
    bench = Bench(tmp_path, {"CARTOGRAPH_SHOPS_DIR": str(ROOT / "shops"), "CARTOGRAPH_SIMULATOR_CUSTOMERS": "few"})
    for arguments in (("run",), ("shops", "check")):
        printed = bench.cartograph(*arguments, expect=2)
        assert "simulated.yaml: ecom_assets.components.SimulatorSource: customers:" in printed
        assert "'few'" in printed
        assert "Traceback" not in printed
    bench.variables["CARTOGRAPH_SIMULATOR_CUSTOMERS"] = "-5"
    assert "greater than or equal to 20, got -5" in bench.cartograph("run", expect=2)


def test_a_misspelt_variable_is_told_by_every_command(corner_shop: Bench) -> None:
    corner_shop.variables["CARTOGRAPH_DUCKBD_THREADS"] = "2"
    for arguments in (("shops", "list"), ("status",)):
        assert "Is CARTOGRAPH_DUCKDB_THREADS meant?" in corner_shop.cartograph(*arguments)


def test_a_variable_of_a_file_of_alerts_that_is_not_set_is_told_with_what_is_missing(corner_shop: Bench) -> None:
    corner_shop.variables["CARTOGRAPH_TEAM_CHAT_URL"] = "https://chat.example.com/x"
    assert "as CARTOGRAPH_ALERTS_FILE is not set, names it" in corner_shop.cartograph("shops", "list")
    sinks = "sinks: {chat: {type: webhook, url: '${CARTOGRAPH_TEAM_CHAT_URL}'}}\nroutes: [{sinks: [chat]}]"
    (corner_shop.root / "alerts.yaml").write_text(sinks, encoding="utf-8")
    corner_shop.variables["CARTOGRAPH_ALERTS_FILE"] = "alerts.yaml"
    assert "Warning" not in corner_shop.cartograph("shops", "list")


def test_a_lake_that_was_loaded_otherwise_is_told_by_shops_check(corner_shop: Bench) -> None:
    corner_shop.cartograph("run", "--select", 'key:"raw/customers"')
    corner_shop.variables["CARTOGRAPH_PARTITION_GRAIN"] = "weekly"
    printed = corner_shop.cartograph("shops", "check", expect=1)
    assert "A run would stop: raw.customers was loaded in monthly partitions, and weekly is asked for" in printed


def test_a_column_that_was_loaded_and_went_missing_is_told_by_shops_check(corner_shop: Bench) -> None:
    corner_shop.cartograph("run", "--select", 'key:"raw/customers"')
    mapping = corner_shop.root / "docs/examples/corner_shop/corner_shop.yaml"
    selected = "name->>'given' AS first_name,"
    mapping.write_text(mapping.read_text(encoding="utf-8").replace(selected, ""), encoding="utf-8")
    printed = corner_shop.cartograph("shops", "check", expect=1)
    assert "A run would stop: first_name of customers was loaded and is not delivered any more." in printed
