"""`cartograph bench clv`: what it prints of a file whose truth is known, and what it says of a file that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from cartograph.cli import app
from ml_assets.core.bench.clv import bench
from ml_assets.core.bench.errors import BenchDataError

START = date(2023, 1, 2)
HEADER = "customer,date,amount"


def rows(customers: int = 1500, days: int = 300, first_days: int = 60) -> list[str]:
    """Customers of rates Gamma(1, 20 days) who leave after an order by Beta(1, 6), and spend 30 on average."""
    draw = np.random.default_rng(4)
    found = []
    for customer in range(customers):
        day, rate, leaves = draw.uniform(0, first_days), draw.gamma(1.0, 1 / 20), draw.beta(1.0, 6.0)
        mean, stays = 30 * draw.gamma(8.0) / 8, True
        while stays and day < days:
            found.append(f"c{customer},{START + timedelta(days=int(day))},{mean * draw.gamma(4.0) / 4:.2f}")
            day += draw.exponential(1 / rate)
            stays = draw.random() >= leaves
    return found


def write(folder: Path, lines: list[str], name: str = "orders.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clv"), [HEADER, *rows()])


def test_the_command_prints_facts_parameters_and_scores(path, monkeypatch, capsys):
    arguments = ["--data", str(path), "--calibration-end", "2023-07-31", "--unit-days", "30"]
    monkeypatch.setattr("sys.argv", ["cartograph", "bench", "clv", *arguments])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert not ended.value.code
    report = json.loads(capsys.readouterr().out)
    assert report["data"]["calibration_end"] == "2023-07-31"
    assert report["data"]["first_date"] == str(START)
    assert report["data"]["holdout_days"] == (date(2023, 10, 28) - date(2023, 7, 31)).days
    assert set(report["orders"]) == set(report["spend"]) == {"bg_nbd", "own_rate", "last_period"}
    assert report["orders"]["bg_nbd"]["mae"] < report["orders"]["own_rate"]["mae"]
    assert report["orders"]["bg_nbd"]["total_ratio"] == pytest.approx(1, abs=0.15)
    assert report["parameters"]["gamma_gamma"]["mean_spend"] == pytest.approx(30, rel=0.05)
    assert report["parameters"]["bg_nbd"]["log_likelihood"] < 0


def test_the_unit_scales_the_rate_and_nothing_else(path):
    weeks, days = (bench(path, unit_days=unit)["parameters"]["bg_nbd"] for unit in (7, 1))
    assert days["alpha"] == pytest.approx(7 * weeks["alpha"], rel=1e-3)
    assert [days[name] for name in "rab"] == pytest.approx([weeks[name] for name in "rab"], rel=1e-3)


def test_transactions_of_a_day_are_one_order_and_parquet_is_read_alike(path, tmp_path):
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    halves = [
        f"{customer},{day} 10:00:00,{float(amount) / 2}" for customer, day, amount in (x.split(",") for x in lines)
    ]
    twice = bench(write(tmp_path, [HEADER, *halves, *halves]))
    parquet = tmp_path / "orders.parquet"
    duckdb.sql(f"COPY (FROM read_csv('{path}')) TO '{parquet}'")
    typed, plain = bench(parquet), bench(path)
    for other in (twice, typed):
        assert other["parameters"]["bg_nbd"] == pytest.approx(plain["parameters"]["bg_nbd"])
        assert other["data"]["orders"] == plain["data"]["orders"]


def test_with_a_year_of_history_the_season_is_known(tmp_path):
    report = bench(
        write(tmp_path, [HEADER, *rows(days=500, first_days=250)]), calibration_end=START + timedelta(days=400)
    )
    assert "bg_nbd_seasonal" in report["orders"]
    assert report["orders"]["bg_nbd_seasonal"]["mae"] < report["orders"]["own_rate"]["mae"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["customer,day,amount", "a,2024-01-01,1"],
            r"orders\.csv, line 1: no column date; there are customer, day, amount",
        ),
        ([HEADER, "a,2024-01-01,1", ",2024-01-02,1"], r"line 3, column customer: it is empty\. Name the customer"),
        ([HEADER, "a,2024-01-01,1", "a,31.12.2024,1"], r"line 3, column date: it is '31\.12\.2024'\. Write dates as"),
        (
            [HEADER, "a,2024-01-01,1", "a,9999-12-31,1", "b,2024-02-01,1"],
            r"line 3, .* It is a century from most others",
        ),
        ([HEADER, "a,2024-01-01,1", "a,2024-01-02,1,5"], r"line 3: it has 4 values, and line 1 names 3 columns"),
        ([HEADER, "a,2024-01-01,1", "a,2024-01-02"], r"line 3: it has 2 values, and line 1 names 3 columns"),
        ([HEADER, "a,2024-01-01,1_0"], r"line 2, column amount: it is '1_0'"),
        ([HEADER, "a,2024-01-01,1e300"], r"line 2, column amount: it is '1e300'"),
        ([HEADER, "a,2024-01-01,free"], r"line 2, column amount: it is 'free'\. Write a number"),
        ([HEADER, "a,2024-01-01,"], r"line 2, column amount: it is empty\. Write a number"),
        ([HEADER, "a,2024-01-01,inf"], r"line 2, column amount: it is 'inf'"),
        ([HEADER], r"holds no transaction\. Columns: customer, date"),
        (
            [HEADER, "a,2024-01-01,1", "a,2024-05-01,1"],
            r"0 of 1 customers ordered on two days or more .* 50 are needed",
        ),
    ],
)
def test_a_file_that_is_wrong_is_named_with_place_and_cure(tmp_path, monkeypatch, capsys, lines, message):
    path = write(tmp_path, lines)
    with pytest.raises(BenchDataError, match=message):
        bench(path)
    monkeypatch.setattr("sys.argv", ["cartograph", "bench", "clv", "--data", str(path)])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""


def repriced(lines: list[str], amount: Callable[[np.random.Generator], float]) -> list[str]:
    draw = np.random.default_rng(8)
    return [HEADER, *(f"{line.rpartition(',')[0]},{amount(draw):.4f}" for line in lines)]


@pytest.mark.parametrize(
    ("amount", "note"),
    [
        (lambda _: 0.0, "Nobody has spent more than nothing on average"),
        (lambda draw: -draw.gamma(6, 10), "repeat orders sum up to less than 0"),
        (lambda draw: 10 * draw.pareto(0.5) + 0.01, "varies so much between customers that it has no mean"),
    ],
    ids=["free", "refunds", "a heavy tail"],
)
def test_amounts_without_a_mean_leave_the_orders_and_a_note(tmp_path, monkeypatch, capsys, amount, note):
    path = write(tmp_path, repriced(rows(600), amount))
    monkeypatch.setattr("sys.argv", ["cartograph", "bench", "clv", "--data", str(path)])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert not ended.value.code
    report = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert any(note in one for one in report["notes"])
    assert report["parameters"]["gamma_gamma"] is None
    assert report["parameters"]["bg_nbd"]["r"] > 0
    assert set(report["spend"]) == {"own_rate", "last_period"}
    assert report["orders"]["bg_nbd"]["mae"] < report["orders"]["own_rate"]["mae"]


def test_some_free_orders_and_refunds_are_no_hindrance(tmp_path):
    path = write(
        tmp_path, repriced(rows(600), lambda draw: draw.choice([-20.0, 0.0, 30.0, 40.0], p=[0.1, 0.2, 0.4, 0.3]))
    )
    report = bench(path)
    assert report["parameters"]["gamma_gamma"]["mean_spend"] > 0
    assert set(report["spend"]) == {"bg_nbd", "own_rate", "last_period"}


@pytest.mark.parametrize("day", [START - timedelta(days=1), date(2030, 1, 1)])
def test_a_calibration_that_ends_outside_the_dates_is_refused(path, day):
    with pytest.raises(BenchDataError, match=r"transactions from 2023-01-02 to .*Choose an earlier --calibration-end"):
        bench(path, calibration_end=day)


@pytest.mark.parametrize(("name", "message"), [("no.csv", "is not there"), ("orders.xlsx", "is none of .csv")])
def test_a_file_that_is_absent_or_of_another_kind_is_named(tmp_path, name, message):
    path = tmp_path / name
    if name != "no.csv":
        path.write_text("x")
    with pytest.raises(BenchDataError, match=message):
        bench(path)
