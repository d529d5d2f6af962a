"""`cartograph experiment` on any file: what it prints, and what it says of files that it cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cartograph.cli.app import app
from ml_assets.core.bench.errors import BenchDataError
from ml_assets.core.experiments.files import Asked, analyse
from tests.unit.ml.experimenting import write

SIZE = 6000


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(11)
    arm = draw.integers(0, 3, SIZE)
    before = draw.gamma(2, 50, SIZE)
    return {
        "segment": np.array(["Mens E-Mail", "No E-Mail", "Womens E-Mail"])[arm],
        "visit": draw.random(SIZE) < np.array([0.25, 0.1, 0.12])[arm],
        "spend": np.round(0.1 * before + draw.gamma(1, 10, SIZE), 2),
        "orders": 1 + draw.poisson(1, SIZE),
        "history": before,
        "user": np.arange(SIZE),
        "day": (np.datetime64("2025-01-01") + draw.integers(0, 20, SIZE)).astype("datetime64[D]"),
        "zip": draw.choice(["Urban", "Rural"], SIZE),
    }


@pytest.fixture(scope="module")
def file(columns, tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("files") / "mails.csv", columns)


def test_three_variants_are_held_against_the_one_without_mail(file):
    found = analyse(file, Asked("segment", ("visit", "spend"), covariates=("history",), segments=("zip",)))
    assert found["control"] == "No E-Mail"
    assert (found["verdict"], found["choice"]) == ("ship", "Mens E-Mail")
    by = {(one["metric"], one["variant"]): one for one in found["estimates"]}
    assert by["visit", "Mens E-Mail"]["kind"] == "conversion"
    assert by["visit", "Mens E-Mail"]["ci_low"] < 0.15 < by["visit", "Mens E-Mail"]["ci_high"]
    assert by["spend", "Mens E-Mail"]["adjusted_p_value"] > 0.05
    assert by["spend", "Mens E-Mail"]["variance_reduction"] > 0.2
    assert {one["name"] for one in found["integrity"]} == {"sample_ratio_holds", "variants_were_alike_before"}
    assert {one["segment"] for one in found["segments"]} == {"zip"}
    assert json.loads(json.dumps(found)) == found


def test_parquet_says_the_same_as_csv(columns, file, tmp_path):
    asked = Asked("segment", ("visit", "spend"), ratios=(("spend", "orders"),), unit="user", time="day")
    csv, parquet = analyse(file, asked), analyse(write(tmp_path / "mails.parquet", columns), asked)
    assert csv["estimates"] == [
        {name: pytest.approx(value) if isinstance(value, float) else value for name, value in one.items()}
        for one in parquet["estimates"]
    ]
    assert {one["metric"] for one in csv["estimates"]} == {"visit", "spend", "spend/orders"}


def test_with_times_each_day_is_a_look_and_the_last_is_the_result(file):
    found = analyse(file, Asked("segment", ("visit",), time="day"))
    last = [one for one in found["looks"] if one["variant"] == "Mens E-Mail"][-1]
    one = found["estimates"][0]
    assert last["day"] == "2025-01-20"
    assert last["effect"] == pytest.approx(one["effect"])
    assert last["always_low"] == pytest.approx(one["always_low"], rel=1e-3)


def test_rows_of_a_unit_are_added_up(tmp_path):
    draw = np.random.default_rng(3)
    user = np.repeat(np.arange(500), 4)
    variant = np.array(["control", "treatment"])[user % 2]
    file = write(tmp_path / "sessions.csv", {"u": user, "v": variant, "y": draw.gamma(1, 1, 2000), "n": np.ones(2000)})
    found = analyse(file, Asked("v", ("y",), ratios=(("y", "n"),), unit="u"))
    assert found["experiment"] | {"rows": 2000, "units": 500} == found["experiment"]
    total, mean = found["estimates"]
    assert total["effect"] == pytest.approx(4 * mean["effect"])


@pytest.mark.parametrize("unit", [None, "user"])
def test_rows_that_come_twice_are_told(columns, file, tmp_path, unit):
    asked = Asked("segment", ("spend",), unit=unit)
    doubled = write(tmp_path / "twice.csv", {name: np.concatenate([one, one]) for name, one in columns.items()})
    assert any(told.startswith(f"{SIZE:,} rows are exact copies") for told in analyse(doubled, asked)["warnings"])
    assert not any("copies" in told for told in analyse(file, asked)["warnings"])
    few = write(tmp_path / "few.csv", {name: columns[name] for name in ("segment", "visit")})
    assert not any("copies" in told for told in analyse(few, Asked("segment", ("visit",)))["warnings"])


def test_a_mismatch_leaves_no_estimate(tmp_path):
    variant = ["control"] * 10_400 + ["treatment"] * 9_600
    file = write(tmp_path / "srm.csv", {"v": variant, "y": np.random.default_rng(1).random(20_000)})
    found = analyse(file, Asked("v", ("y",)))
    assert (found["verdict"], found["estimates"]) == ("invalid", [])
    assert analyse(file, Asked("v", ("y",), shares={"control": 0.52, "treatment": 0.48}))["verdict"] == "hold"


def test_one_with_fewer_units_than_planned_runs_and_is_decided_by_the_interval_of_every_look(tmp_path):
    draw = np.random.default_rng(2)
    variant = np.array(["control", "treatment"])[np.arange(1000) % 2]
    file = write(tmp_path / "runs.csv", {"v": variant, "y": draw.normal(10, 1, 1000) + 0.18 * (variant == "treatment")})
    found, whole = (analyse(file, Asked("v", ("y",), planned_units=planned)) for planned in (10_000, 1000))
    (one,) = found["estimates"]
    assert one["always_low"] < 0 < one["ci_low"]
    assert (found["state"], found["verdict"]) == ("running", "hold")
    assert (whole["state"], whole["verdict"]) == ("complete", "ship")


def test_a_mean_that_one_value_decides_has_no_relative_interval(tmp_path):
    draw = np.random.default_rng(3)
    variant = np.array(["control", "treatment"])[np.arange(4000) % 2]
    spend = draw.gamma(2, 4, 4000)
    spend[7] = 1e7
    found = analyse(write(tmp_path / "tail.csv", {"v": variant, "y": spend}), Asked("v", ("y",)))
    (one,) = found["estimates"]
    assert (one["relative_low"], one["relative_high"]) == (None, None)
    assert "which may be chance" in found["reasons"][0]


def test_the_p_value_of_a_segment_does_not_depend_on_alpha(file):
    asked = Asked("segment", ("spend",), segments=("zip",))
    told = [analyse(file, asked._replace(alpha=alpha))["segments"][0] for alpha in (0.2, 0.05, 0.01)]
    assert len({round(one["adjusted_p_value"], 9) for one in told}) == 1
    assert len({one["ci_low"] for one in told}) == 3


def test_a_long_tail_is_told_and_can_be_capped(tmp_path):
    draw = np.random.default_rng(4)
    rounds = draw.negative_binomial(0.3, 0.006, 20_000)
    rounds[17] = 49_854
    file = write(tmp_path / "game.csv", {"v": draw.choice(["gate_30", "gate_40"], 20_000), "rounds": rounds})
    plain = analyse(file, Asked("v", ("rounds",)))
    capped = analyse(file, Asked("v", ("rounds",), cap=0.999))
    assert any("rounds hangs on one unit" in told for told in plain["warnings"])
    assert any("gate_30 was taken for the control" in told for told in plain["warnings"])
    assert not any("hangs on" in told for told in capped["warnings"])
    width = [one["estimates"][0]["ci_high"] - one["estimates"][0]["ci_low"] for one in (plain, capped)]
    assert width[1] < width[0]


GOOD = {"v": ["control", "treatment"] * 100, "y": [float(at % 7) for at in range(200)], "u": list(range(200))}


@pytest.mark.parametrize(
    ("changed", "asked", "said"),
    [
        ({}, Asked("nothing", ("y",)), "no column nothing; there are v, y, u"),
        ({}, Asked("v", ("z",)), "no column z"),
        ({"v": ["control"] * 200}, Asked("v", ("y",)), "all rows are control; two variants are needed"),
        ({"y": [*GOOD["y"][:-1], float("nan")]}, Asked("v", ("y",)), "column y: it is 'nan'"),
        ({"y": [*GOOD["y"][:-1], None]}, Asked("v", ("y",)), "line 201, column y: it is empty"),
        ({"y": ["many"] * 200}, Asked("v", ("y",)), "line 2, column y: it is 'many'"),
        ({"v": [None, *GOOD["v"][1:]]}, Asked("v", ("y",)), "line 2, column v: it is empty"),
        ({"u": [0, 0, *range(2, 200)]}, Asked("v", ("y",), unit="u"), "1 units are in more than one variant"),
        ({name: values[:20] for name, values in GOOD.items()}, Asked("v", ("y",)), "each variant needs 50"),
        ({name: [] for name in GOOD}, Asked("v", ("y",)), "has no rows"),
        ({"y": [3] * 200}, Asked("v", ("y",)), "it is 3 for all units"),
        ({}, Asked("u", ("y",)), "200 different values"),
        ({}, Asked("v"), "There is no metric"),
        ({}, Asked("v", ("y",), control="blue"), "--control blue is no variant"),
        ({}, Asked("v", ("y",), shares={"a": 1.0}), "--split names a, and the variants are"),
        ({}, Asked("v", ("y",), lower_is_better=("z",)), "--lower-is-better z is none of the metrics"),
        ({}, Asked("v", ("y",), guardrails=("y",)), "y is given twice"),
        ({}, Asked("v", ("y",), time="y"), "column y"),
        ({"u": [-at for at in range(200)]}, Asked("v", ratios=(("y", "u"),)), "its sum must be above 0"),
        ({"u": [0, 1] * 100}, Asked("v", ratios=(("y", "u"),)), "above 0 in each variant .* in control it is 0"),
        ({"u": [2 * (at % 7) + 1 for at in range(200)]}, Asked("v", ("y",), covariates=("u",)), "tell y wholly"),
        (
            {"y": [1e161 * (at % 7) for at in range(200)]},
            Asked("v", ("y",)),
            "column y: it holds 6e\\+161",
        ),
        (
            {"u": [1e-88 * (at % 3) for at in range(200)]},
            Asked("v", ("y",), covariates=("u",)),
            "column u: it holds 2e-88",
        ),
        ({}, Asked("v", ("y",), shares={"control": 0.6, "treatment": 0.5}), "--split adds up to 1.1: write"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, changed, asked, said):
    file = write(tmp_path / "bad.csv", {**GOOD, **changed})
    with pytest.raises(BenchDataError, match=said) as raised:
        analyse(file, asked)
    assert "\n" not in str(raised.value)


def test_a_covariate_that_changes_within_a_unit_is_refused(tmp_path):
    rows = {"v": ["control", "control", "treatment"], "u": [1, 1, 2], "y": [1, 2, 3], "x": [1, 2, 3]}
    with pytest.raises(BenchDataError, match="column x: u 1 has two values"):
        analyse(write(tmp_path / "x.csv", rows), Asked("v", ("y",), unit="u", covariates=("x",)))


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(BenchDataError, match=r"none\.csv is not there"):
        analyse(tmp_path / "none.csv", Asked("v", ("y",)))


def test_the_commands_print_json(file):
    runner = CliRunner()
    made = runner.invoke(
        app,
        [
            *("experiment", "analyse", "--data", str(file), "--variant", "segment", "--metric", "visit"),
            *("--ratio", "spend/orders", "--guardrail", "spend=0.5"),
            *("--split", "No E-Mail=1,Mens E-Mail=1,Womens E-Mail=1"),
        ],
    )
    assert made.exit_code == 0, made.output
    found = json.loads(made.stdout)
    assert found["verdict"] == "ship"
    assert {one["role"] for one in found["estimates"]} == {"primary", "secondary", "guardrail"}
    needed = runner.invoke(app, ["experiment", "power", "--mean", "0.05", "--effect", "0.1", "--units-per-day", "1000"])
    assert json.loads(needed.stdout) | {"units": 59_652, "days": 60} == json.loads(needed.stdout)
    wrong = runner.invoke(
        app, ["experiment", "analyse", "--data", str(file), "--variant", "segment", "--ratio", "spend"]
    )
    assert isinstance(wrong.exception, BenchDataError)
    assert str(wrong.exception) == "--ratio spend is not of the form numerator/denominator."


@pytest.mark.parametrize(("mean", "effect", "told"), [("0.95", "0.1", "104.5 %"), ("0.2", "-1.5", "-10 %")])
def test_an_effect_that_no_conversion_can_have_is_refused(mean, effect, told):
    asked = ["experiment", "power", "--mean", mean, "--effect", effect]
    wrong = CliRunner().invoke(app, asked)
    assert isinstance(wrong.exception, BenchDataError)
    assert f"would be a conversion of {told}" in str(wrong.exception)
    assert CliRunner().invoke(app, [*asked, "--deviation", "1"]).exit_code == 0


@pytest.mark.parametrize("option", ["--guardrail", "--split"])
def test_an_option_that_is_no_number_says_what_it_takes(file, option):
    asked = ["experiment", "analyse", "--data", str(file), "--variant", "segment", "--metric", "visit"]
    wrong = CliRunner().invoke(app, [*asked, option, "spend=abc"])
    assert isinstance(wrong.exception, BenchDataError)
    assert str(wrong.exception).startswith(f"{option} spend=abc: 'abc' is no number. Write it as ")


def test_a_variant_whose_share_comes_twice_is_told(file):
    asked = ["experiment", "analyse", "--data", str(file), "--variant", "segment", "--metric", "visit"]
    wrong = CliRunner().invoke(app, [*asked, "--split", "a=1,b=1,a=2"])
    assert isinstance(wrong.exception, BenchDataError)
    assert str(wrong.exception).startswith("--split names a twice.")


def test_a_segment_that_cannot_be_told_apart_is_told(file):
    found = analyse(file, Asked("segment", ("visit",), segments=("user", "zip")))
    assert {one["segment"] for one in found["segments"]} == {"zip"}
    (told,) = (one for one in found["warnings"] if "segment" in one)
    assert told.startswith("The segment user is not told: fewer than two of its 6,000 values have 50 units")
