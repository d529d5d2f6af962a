"""`cartograph bench forecast`: what it makes of a file, what it prints, and what it says of a file that is wrong."""

from __future__ import annotations

import gzip
import json
import sys
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest

from cartograph.cli import app
from ml_assets.core.bench import forecast as bench_forecast
from ml_assets.core.bench.errors import BenchDataError
from tests.unit.ml.demand import planted

HEADER = "series,date,quantity,promotion"


def rows(*, series: int = 5, periods: int = 200, step: int = 1) -> list[str]:
    panel = planted(series=series, periods=periods).panel
    start = date(2023, 1, 2)
    return [
        f"{name},{start + timedelta(days=step * day)},{panel.quantity[place, day]:g},"
        f"{panel.regressors['promotion'][place, day]:g}"
        for place, name in enumerate(panel.series)
        for day in range(periods)
    ]


def write(folder: Path, lines: list[str], name: str = "demand.csv") -> Path:
    path = folder / name
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def test_the_command_prints_facts_parameters_and_metrics_as_json(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_forecast, "TRIALS", 2)
    path = write(tmp_path, [HEADER, *rows()])
    monkeypatch.setattr(sys, "argv", ["cartograph", "bench", "forecast", "--data", str(path), "--horizon", "7"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert not ended.value.code
    report = json.loads(capsys.readouterr().out)
    assert report["data"]["rows"] == 1000
    assert report["data"]["frequency"] == "daily"
    assert report["data"]["regressors"] == ["promotion"]
    assert report["parameters"]["horizon"] == 7
    assert len(report["parameters"]["origins"]) == 4
    assert report["parameters"]["origins"][-1] == "2023-07-14", "the last window ends with the file"
    assert report["parameters"]["tuning"]["windows_before"] == report["parameters"]["origins"][0]
    scores = {name: metric["weighted_rmsse"] for name, metric in report["metrics"].items()}
    assert set(scores) == {"demand_forecast", "seasonal_naive", "theta", "ets", "croston_sba"}
    assert report["winner"] == min(scores, key=scores.__getitem__)
    assert scores["demand_forecast"] < scores["seasonal_naive"]
    assert 0.7 < report["intervals"]["coverage"] <= 1
    assert report["intervals"]["pinball"] > 0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["series,day,quantity", "a,2024-01-01,1"], "line 1: no column date; there are series, day, quantity"),
        ([HEADER, "a,2024-01-01,1,0", "a,01/02/24x,1,0"], "line 3, column date: it is '01/02/24x'. Write dates as"),
        ([HEADER, "a,2024-01-01,1,0", ",2024-01-02,1,0"], "line 3, column series: it is empty. Name the series"),
        ([HEADER, "a,2024-01-01,many,0"], "line 2, column quantity: it is 'many'. Write a number"),
        ([HEADER, "a,2024-01-01,inf,0"], "line 2, column quantity: it is 'inf'. Write a number"),
        ([HEADER, "a,2024-01-01,-3,0"], "line 2, column quantity: it is '-3'. Demand is 0 or more"),
        ([HEADER, "a,2024-01-01,3,yes"], "line 2, column promotion: it is 'yes'. A regressor is a number"),
        ([HEADER, "a,2024-01-01,3,0", "a,2024-01-01,4,0"], "line 3, column date: it is '2024-01-01'. Each series has"),
        ([HEADER, "a,2024-01-01,3,0"], "has the date 2024-01-01 only. A forecast needs a history"),
        ([HEADER, "a,2024-01-01,,0"], "has no row with a quantity"),
        ([HEADER, *(f"a,2024-{month:02}-{3 * month:02},1,0" for month in (1, 3, 6))], "neither daily, weekly"),
        ([HEADER, *rows(periods=30)], r"holds too little for 4 windows of 14 periods. A forecast of 14 periods needs"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_place_and_cure(tmp_path, monkeypatch, capsys, lines, message):
    path = write(tmp_path, lines)
    monkeypatch.setattr(sys, "argv", ["cartograph", "bench", "forecast", "--data", str(path)])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == app.EXIT_MISTAKE
    printed = capsys.readouterr().err
    assert f"{path}" in printed
    assert message in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.csv", "is not there. Give a CSV or Parquet file"),
        ("demand.xlsx", r"is none of .csv, .csv.gz, .parquet"),
    ],
)
def test_a_file_that_is_absent_or_of_another_kind_is_named(tmp_path, name, message):
    if name != "absent.csv":
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(BenchDataError, match=message):
        bench_forecast.read(tmp_path / name)


def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path):
    (tmp_path / "demand.parquet").write_bytes(b"series,date,quantity")
    with pytest.raises(BenchDataError, match=r"demand\.parquet cannot be read: .* Columns: series, date"):
        bench_forecast.read(tmp_path / "demand.parquet")


def test_quantities_that_never_change_are_refused(tmp_path):
    lines = [f"a,{date(2024, 1, 1) + timedelta(days=day)},5,0" for day in range(150)]
    with pytest.raises(BenchDataError, match="no forecast to score"):
        bench_forecast.bench(write(tmp_path, [HEADER, *lines]))


def test_all_formats_give_the_same_panel(tmp_path):
    lines = [HEADER, *rows(periods=20)]
    plain = write(tmp_path, lines)
    zipped = write(tmp_path, lines, "demand.csv.gz")
    with duckdb.connect() as con:
        con.execute(f"COPY (FROM read_csv('{plain}') ORDER BY random()) TO '{tmp_path}/demand.parquet'")
    read = [bench_forecast.read(path).panel for path in (plain, zipped, tmp_path / "demand.parquet")]
    for panel in read:
        assert panel.series == read[0].series
        np.testing.assert_array_equal(panel.quantity, read[0].quantity)
        np.testing.assert_array_equal(panel.regressors["promotion"], read[0].regressors["promotion"])


@pytest.mark.parametrize(
    ("dates", "frequency"),
    [
        (["2024-01-01", "2024-01-02", "2024-01-05"], "daily"),
        (["2024-01-01", "2024-01-08", "2024-01-22"], "weekly"),
        (["2024-01-31", "2024-02-07", "2024-02-14"], "weekly"),
        (["2024-01-01", "2024-02-01", "2024-04-01"], "monthly"),
    ],
)
def test_the_dates_tell_the_frequency_and_gaps_are_filled(tmp_path, dates, frequency):
    panel = bench_forecast.read(write(tmp_path, [HEADER, *(f"a,{day},2,0" for day in dates)])).panel
    assert panel.frequency.name == frequency
    assert [str(panel.dates[0]), str(panel.dates[-1])] == [dates[0], dates[-1]]
    assert panel.periods == {"daily": 5, "weekly": 4 if dates[-1] == "2024-01-22" else 3, "monthly": 4}[frequency]


def test_absent_rows_are_no_sales_unless_the_file_has_zeros_of_its_own(tmp_path):
    lines = [HEADER, "a,2024-01-01,2,0", "a,2024-01-03,4,0"]
    sparse = bench_forecast.read(write(tmp_path, lines))
    assert sparse.facts["absent_rows_are"] == "zero"
    np.testing.assert_array_equal(sparse.panel.quantity, [[2, 0, 4]])
    assert sparse.facts["absent_rows"] == 1
    explicit = bench_forecast.read(write(tmp_path, [*lines, "b,2024-01-01,0,0"]))
    assert explicit.facts["absent_rows_are"] == "unknown"
    np.testing.assert_array_equal(explicit.panel.quantity[0], [2, np.nan, 4])
    told = bench_forecast.read(write(tmp_path, lines), absent="unknown")
    np.testing.assert_array_equal(told.panel.quantity, [[2, np.nan, 4]])


def test_tuning_sees_nothing_from_the_first_origin_on(monkeypatch):
    monkeypatch.setattr(bench_forecast, "TRIALS", 2)
    panel = planted(series=5, periods=200).panel
    seen = []
    real = bench_forecast.point_forecast
    monkeypatch.setattr(
        bench_forecast, "point_forecast", lambda p, start, *rest: seen.append(start) or real(p, start, *rest)
    )
    parameters, trials = bench_forecast.tune(panel, 150, 14)
    assert trials == 2
    assert {start + 14 for start in seen} == {136, 150}
    later = planted(series=5, periods=200).panel
    later.quantity[:, 150:] = 99.0
    assert bench_forecast.tune(later, 150, 14)[0] == parameters


def test_of_many_series_a_fixed_sample_is_scored():
    chosen = bench_forecast.scored_series(5000)
    assert len(set(chosen)) == bench_forecast.SCORED_SERIES
    np.testing.assert_array_equal(chosen, bench_forecast.scored_series(5000))
    assert list(bench_forecast.scored_series(3)) == [0, 1, 2]
