"""`cartograph causal estimate`: what it makes of a file, what it prints, and what it says of a file that is wrong."""

from __future__ import annotations

import gzip
import json
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from cartograph.cli import app
from ml_assets.core.bench.errors import BenchDataError
from ml_assets.core.causal.errors import CausalFileError
from ml_assets.core.causal.file_rows import CERTAIN_CATEGORIES, MOST_CATEGORIES, Asked, read
from ml_assets.core.causal.files import estimate
from ml_assets.core.experiments.files import Asked as Experiment
from ml_assets.core.experiments.files import analyse

ROWS = 600


def table(seed: int = 1, rows: int = ROWS) -> pa.Table:
    """Customers of whom those in the south, and with much spent before, got a coupon more often; it adds 5."""
    draw = np.random.default_rng(seed)
    south, before = draw.random(rows) < 0.5, draw.gamma(2, 20, rows)
    treated = draw.random(rows) < 1 / (1 + np.exp(1 - south - before / 60))
    spend = before / 4 + 6 * south + 5 * treated + draw.normal(0, 3, rows)
    return pa.table(
        {
            "id": [f"c{number}" for number in range(rows)],
            "coupon": np.where(treated, "yes", "no"),
            "spend": spend,
            "region": np.where(south, "south", "north"),
            "before": pa.array(before, mask=draw.random(rows) < 0.05),
            "since": [date(2024, 1, 1) + timedelta(days=int(day)) for day in draw.integers(0, 300, rows)],
            "is_member": draw.random(rows) < 0.3,
            "visits_before": draw.poisson(before / 20).astype(float),
            "depth": 10 * treated + draw.uniform(0, 5, rows),
            "shop": [f"shop {number % 120}" for number in range(rows)],
            "arm": np.array(["control", "small", "large"])[draw.integers(0, 3, rows)],
            "same": np.ones(rows),
        }
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("files") / "coupons.parquet"
    pq.write_table(table(), found)
    return found


QUESTION = Asked("coupon", "spend", ("region", "before", "since", "is_member"))


def asked(**changes: object) -> Asked:
    return Asked(**{**vars(QUESTION), **changes})


def test_the_command_prints_estimates_checks_and_a_verdict_as_json(path, monkeypatch, capsys):
    arguments = ["--data", str(path), "--treatment", "coupon", "--outcome", "spend", "--confounders", "region,before"]
    more = ["--confounders", "since", "--modifiers", "is_member", "--negative-control", "visits_before"]
    monkeypatch.setattr(sys, "argv", ["cartograph", "causal", "estimate", *arguments, *more])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert not ended.value.code
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "identified"
    assert found["question"] == "What does coupon (yes against no) do to spend, on average over all?"
    assert found["treatment"]["levels"] == ["no", "yes"]
    assert found["adjusted_for"] == ["region", "before", "since", "is_member"]
    assert found["data"] == {"file": "coupons.parquet", "rows": ROWS, "rows_used": ROWS}
    (answer,) = found["answer"]
    assert answer["ci_low"] < 5 < answer["ci_high"]
    assert [one["method"] for one in found["estimates"]] == ["doubly robust", "double machine learning"]
    assert found["naive"][0]["ci_low"] > 5
    assert {"overlap", "balance", "agreement", "negative_controls"} <= {check["name"] for check in found["checks"]}
    assert found["heterogeneity"]["blp"] is not None
    assert found["sensitivity"]["benchmark"] in ("region", "before")


def test_a_column_whose_name_has_a_comma_is_quoted(tmp_path, monkeypatch, capsys):
    renamed = table().rename_columns({"before": "spent, before"})
    pq.write_table(renamed, tmp_path / "named.parquet")
    arguments = ["--data", str(tmp_path / "named.parquet"), "--treatment", "coupon", "--outcome", "spend"]
    names = ["--confounders", '"spent, before", region', "--confounders", "since"]
    monkeypatch.setattr(sys, "argv", ["cartograph", "causal", "estimate", *arguments, *names])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)["adjusted_for"] == ["spent, before", "region", "since"]


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_confounder_that_is_the_outcome_in_other_words_refuses_the_effect(tmp_path, noise):
    """To hold it fixed is to hold the effect fixed: it would be 0, and sure of it."""
    given, draw = table(), np.random.default_rng(1)
    paid = 2 * given["spend"].to_numpy() + 3 + noise * draw.normal(size=len(given))
    pq.write_table(given.append_column("paid", pa.array(paid)), tmp_path / "leak.parquet")
    found = estimate(tmp_path / "leak.parquet", asked(confounders=("region", "before", "paid")))
    (failed,) = [check for check in found["checks"] if check["name"] == "no_confounder_is_the_outcome"]
    assert (found["verdict"], failed["passed"]) == ("not identified", False)
    assert failed["detail"].startswith("paid alone tells")


def test_the_effect_is_told_in_each_group_that_a_modifier_makes_and_in_none_that_is_refused(path):
    found = estimate(path, asked(modifiers=("region", "is_member")))
    assert [(one["modifier"], one["value"]) for one in found["groups"][2:]] == [("is_member", "0"), ("is_member", "1")]
    assert {one["value"] for one in found["groups"][:2]} == {"north", "south"}
    assert all(one["ci_low"] < 5 < one["ci_high"] for one in found["groups"])
    assert sum(one["rows"] for one in found["groups"][:2]) <= ROWS
    assert estimate(path, asked(modifiers=("region",), unrecorded=("a hunch",)))["groups"] is None
    amount = estimate(path, asked(treatment="depth", modifiers=("region",)))
    assert amount["groups"] in ([], None)
    assert "not told by modifier" in amount["warnings"][0]


def test_csv_compressed_or_not_gives_what_parquet_gives(path, tmp_path):
    plain, packed = tmp_path / "coupons.csv", tmp_path / "coupons.csv.gz"
    pc.write_csv(pq.read_table(path), plain)
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    expected = read(path, QUESTION).study
    for other in (plain, packed):
        found = read(other, QUESTION).study
        assert found.confounders.names == expected.confounders.names
        np.testing.assert_allclose(found.confounders.values, expected.confounders.values)
        np.testing.assert_allclose(found.treatment, expected.treatment)
        np.testing.assert_allclose(found.outcome, expected.outcome)


def test_columns_of_each_type_become_numbers(path):
    study = read(path, asked(confounders=("region", "since", "is_member", "before"))).study
    assert study.confounders.names[1:] == ("since", "is_member", "before")
    assert study.confounders.names[0] in ("region=south", "region=north")
    since = study.confounders.values[:, 1]
    assert (since.min(), np.ptp(since)) == (19723, 299)  # days since 1970
    assert set(study.confounders.values[:, 2]) == {0.0, 1.0}
    assert np.isnan(study.confounders.values[:, 3]).sum() > 10


def test_a_column_of_many_words_is_bounded_by_the_rows_of_each(path, tmp_path):
    few = read(path, asked(confounders=("shop",)))  # 5 rows of each of 120
    assert len(few.study.confounders.names) == CERTAIN_CATEGORIES
    assert few.study.confounders.names[-1] == "shop=other"
    assert few.study.confounders.values.sum(axis=1).max() == 1
    assert np.unique(few.pooled["shop"]).tolist() == list(range(-1, 120 - CERTAIN_CATEGORIES))
    for shops, rows, columns in ((60, 25, 59), (120, 25, MOST_CATEGORIES), (60, 15, CERTAIN_CATEGORIES)):
        many = towns(tmp_path, shops, shops * rows, even=True)
        assert len(read(many, Asked("t", "y", ("town",))).study.confounders.names) == columns


def towns(folder: Path, number: int, rows: int, *, even: bool = False, tells: bool = True) -> Path:
    """A treatment of effect 1 that towns tell, as they do the outcome; or the outcome alone."""
    draw = np.random.default_rng(2)
    town = np.arange(rows) % number if even else draw.integers(0, number, rows)
    kind = draw.normal(size=number)[town]
    treated = draw.random(rows) < 1 / (1 + np.exp(-kind * tells))
    columns = {"town": [f"town {one}" for one in town], "t": treated, "y": treated + 2 * kind + draw.normal(size=rows)}
    pq.write_table(pa.table(columns), found := folder / "towns.parquet")
    return found


@pytest.mark.parametrize(
    ("number", "tells", "verdict", "passed"),
    [(30, True, "identified", None), (1000, True, "not identified", False), (1000, False, "identified", True)],
)
def test_a_confounder_of_many_words_is_held_fixed_or_refuses_the_effect(tmp_path, number, tells, verdict, passed):
    found = estimate(towns(tmp_path, number, 2000, tells=tells), Asked("t", "y", ("town",)))
    assert found["verdict"] == verdict
    gate = [one for one in found["checks"] if one["name"] == "values_are_held_fixed"]
    assert [one["passed"] for one in gate] == ([] if passed is None else [passed])
    assert any("Group its values" in one for one in found["warnings"]) == (passed is not None)
    if passed is None:
        assert found["answer"][0]["ci_low"] < 1 < found["answer"][0]["ci_high"]


def postcodes(folder: Path, number: int) -> Path:
    """4,000 rows in which the number of a place tells the treatment, of effect 1, and the outcome."""
    draw = np.random.default_rng(1)
    place = draw.integers(0, number, 4000)
    kind = draw.normal(size=number)[place]
    treated = draw.random(4000) < 1 / (1 + np.exp(-kind))
    columns = {
        "postcode": np.sort(draw.choice(np.arange(10_000, 99_999), number, replace=False))[place],
        "t": treated,
        "y": treated + 2 * kind + draw.normal(size=4000),
    }
    pq.write_table(pa.table(columns), found := folder / "postcodes.parquet")
    return found


@pytest.mark.parametrize(("number", "verdict"), [(40, "identified"), (400, "not identified")])
def test_numbers_that_are_codes_are_held_fixed_as_words(tmp_path, number, verdict):
    """As amounts they gave 1.3 and 2.5, both identified."""
    found = estimate(postcodes(tmp_path, number), Asked("t", "y", ("postcode",)))
    assert found["verdict"] == verdict
    assert any("postcode tell more as codes than as an amount" in one for one in found["warnings"])
    if number == 40:
        assert found["answer"][0]["ci_low"] < 1 < found["answer"][0]["ci_high"]
    else:
        assert not next(one["passed"] for one in found["checks"] if one["name"] == "values_are_held_fixed")


@pytest.mark.parametrize(
    ("amount", "moves"),
    [
        (lambda draw: draw.integers(18, 80, 4000), lambda age: ((age - 45) / 20) ** 2),
        (lambda draw: draw.poisson(3, 4000), lambda count: np.minimum(count, 5)),
        (lambda draw: draw.integers(0, 2, 4000), lambda yes: yes),
    ],
)
def test_whole_numbers_whose_effect_follows_a_curve_are_amounts(tmp_path, amount, moves):
    draw = np.random.default_rng(3)
    number = amount(draw).astype(float)
    moved = moves(number) - moves(number).mean()
    treated = draw.random(4000) < 1 / (1 + np.exp(-moved))
    columns = {"number": number, "t": treated, "y": treated + 2 * moved + draw.normal(size=4000)}
    pq.write_table(pa.table(columns), found := tmp_path / "amounts.parquet")
    assert read(found, Asked("t", "y", ("number",))).study.confounders.names == ("number",)


@pytest.mark.parametrize(
    ("changes", "kind", "levels"),
    [
        ({}, "binary", ("no", "yes")),
        ({"control": "yes"}, "binary", ("yes", "no")),
        ({"treatment": "is_member", "confounders": ()}, "binary", ("0", "1")),
        ({"treatment": "arm"}, "discrete", ("control", "large", "small")),
        ({"treatment": "arm", "control": "small"}, "discrete", ("small", "control", "large")),
        ({"treatment": "depth"}, "continuous", ()),
    ],
)
def test_the_values_of_a_treatment_tell_what_it_is(path, changes, kind, levels):
    loaded = read(path, asked(**changes))
    assert (loaded.kind, loaded.study.levels) == (kind, levels)


def written(path: Path, **columns: object) -> Path:
    """A CSV of text columns, each as it is given."""
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize(
    ("values", "kind", "levels", "dropped"),
    [
        (["Mens", "None", "Womens"], "discrete", ("None", "Mens", "Womens"), 0),
        (["Email", "None"], "binary", ("None", "Email"), 0),
        (["Email", "None", ""], "binary", ("None", "Email"), 60),
        (["NA", "EU"], "binary", ("EU", "NA"), 0),
        (["1", "None"], "binary", ("None", "1"), 0),
        (["0", "1", "NA"], "binary", ("0", "1"), 60),
        (["20240101", "20240102"], "binary", ("20240101", "20240102"), 0),
        (["9007199254740992", "9007199254740993"], "binary", ("9007199254740992", "9007199254740993"), 0),
        (["0.1234567", "0.1234568", "2.0"], "discrete", ("0.1234567", "0.1234568", "2"), 0),
    ],
)
def test_each_value_of_a_treatment_is_a_level_and_only_what_is_empty_is_none(tmp_path, values, kind, levels, dropped):
    rows = 180
    path = written(
        tmp_path / "arms.csv",
        arm=[values[at % len(values)] for at in range(rows)],
        spend=[at % 7 for at in range(rows)],
    )
    loaded = read(path, Asked("arm", "spend"))
    assert (loaded.kind, loaded.study.levels, rows - len(loaded.study)) == (kind, levels, dropped)
    assert len(set(np.bincount(loaded.study.treatment.astype(int)))) == 1


def test_among_words_none_is_a_value_and_among_numbers_a_null(tmp_path):
    path = written(
        tmp_path / "coupons.csv",
        coupon=["yes", "no"] * 60,
        spend=[at % 7 for at in range(120)],
        pet=["None", "cat", "", "dog's"] * 30,
        age=[30, "None", 40, "NA"] * 30,
        since=["31/12/2024", "NULL", "30/12/2024", ""] * 30,
    )
    study = read(path, Asked("coupon", "spend", ("pet", "age", "since"))).study
    words = {"pet=None", "pet=cat", "pet=dog's", "pet=empty"}
    assert len(words & set(study.confounders.names)) == 3  # the fourth is what the others are held against
    assert study.confounders.names[-2:] == ("age", "since")
    assert np.isnan(study.confounders.values[:, -2:]).mean(axis=0).tolist() == [0.5, 0.5]


def test_rows_without_a_treatment_or_an_outcome_are_left_out_and_told_of(tmp_path):
    rows = table().to_pylist()
    rows[0]["coupon"], rows[1]["spend"], rows[2]["spend"] = None, None, float("nan")
    path = tmp_path / "holes.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    loaded = read(path, QUESTION)
    assert loaded.facts == {"file": "holes.parquet", "rows": ROWS, "rows_used": ROWS - 3}
    assert loaded.warnings == ("3 rows without a treatment or an outcome were left out.",)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_that_come_twice_are_told(tmp_path, suffix):
    rows = table()
    write = pc.write_csv if suffix == "csv" else pq.write_table
    write(pa.concat_tables([rows, rows.slice(0, 50)]), tmp_path / f"twice.{suffix}")
    assert read(tmp_path / f"twice.{suffix}", QUESTION).warnings[0].startswith("50 rows are exact copies of others")


def test_rows_are_not_copies_because_the_treatment_is_named_as_our_sql_names_its_table(tmp_path):
    amounts = np.random.default_rng(3).normal(size=200)
    path = written(tmp_path / "t.csv", t=(amounts > 0).astype(int), y=amounts, x=amounts)
    found = read(path, Asked(treatment="t", outcome="y", confounders=("x",)))
    assert not any("copies" in told for told in found.warnings)


def test_a_file_of_very_many_rows_is_sampled_the_same_each_time(path, monkeypatch):
    monkeypatch.setattr("ml_assets.core.causal.file_rows.MOST_ROWS", 400)
    one, other = read(path, QUESTION), read(path, QUESTION)
    assert one.facts["rows_used"] == 400
    assert one.warnings == ("A sample of 400 rows was taken.",)
    assert np.array_equal(one.study.outcome, other.study.outcome)


def test_what_nobody_can_show_is_said(path):
    random = asked(treatment="arm", confounders=("before",))
    vouched = estimate(path, random)
    assert vouched["verdict"] == "identified"
    assert (
        vouched["assumed"]
        == "arm was dealt out at random: in these rows what was named tells no more of it than chance."
    )
    assert any("if it was not by chance" in warning for warning in vouched["warnings"])
    declared = estimate(path, asked(treatment="arm", confounders=(), is_randomised=True))
    assert declared["verdict"] == "identified"
    bare = estimate(path, asked(confounders=()))
    assert (bare["verdict"], bare["answer"]) == ("not identified", None)
    assert any(warning.startswith("Say --randomised if chance decided") for warning in bare["warnings"])
    assert bare["estimates"][0]["estimate"] == pytest.approx(bare["naive"][0]["estimate"], rel=0.01)
    hunch = estimate(path, asked(unrecorded=("a hunch",)))
    assert hunch["verdict"] == "not identified"
    assert hunch["warnings"][-1] == "Do not act on these estimates: back_door failed."


@pytest.mark.parametrize(
    ("share", "verdict", "told"),
    [
        (0.0, "identified", None),
        (0.02, "identified", "2%"),
        (0.1, "not identified", "10%"),
        (0.3, "not identified", "30%"),
    ],
)
@pytest.mark.parametrize("is_word", [False, True])
def test_a_confounder_that_is_empty_in_many_rows_is_not_held_fixed(tmp_path, share, verdict, told, is_word):
    draw = np.random.default_rng(1)
    size, noise = draw.normal(size=(2, 1000))
    treated = draw.random(1000) < 1 / (1 + np.exp(-size))
    gain = 2 * treated + 1.5 * size + draw.normal(size=1000)
    known = np.where(size > 0, "large", "small") if is_word else size
    gain = gain - (1.5 * size - 1.5 * (size > 0)) if is_word else gain
    mask = np.arange(1000) % 100 < 100 * share
    columns = {
        "treated": treated,
        "gain": gain,
        "size": pa.array(known, mask=mask),
        "noise": pa.array(noise, mask=mask),
    }
    pq.write_table(pa.table(columns), path := tmp_path / "gaps.parquet")
    found = estimate(path, Asked("treated", "gain", ("size", "noise")))
    assert found["verdict"] == verdict
    warned = [one for one in found["warnings"] if "is empty in" in one]
    assert [told in one for one in warned] == ([True, True] if told else [])
    gate = [one for one in found["checks"] if one["name"] == "confounders_are_known"]
    assert [one["passed"] for one in gate] == ([share < 0.1] if share else [])
    only = estimate(path, Asked("treated", "gain", ("noise",)))
    assert all(one["passed"] for one in only["checks"] if one["name"] == "confounders_are_known")


def test_an_amount_is_a_treatment_too(tmp_path):
    draw = np.random.default_rng(7)
    size = draw.normal(size=1000)
    depth = 5 + size + draw.normal(size=1000)
    path = tmp_path / "depths.parquet"
    pq.write_table(pa.table({"depth": depth, "size": size, "sold": 2 * depth - size + draw.normal(size=1000)}), path)
    found = estimate(path, Asked("depth", "sold", ("size",)))
    assert (found["kind"], found["treatment"]["rows"]) == ("continuous", [1000])
    assert found["verdict"] == "identified", found["checks"]
    assert found["answer"][0]["ci_low"] < 2 < found["answer"][0]["ci_high"] < 2.2
    assert found["question"] == "What does one more of depth do to sold, on average over all?"


def test_a_graph_in_a_file_decides(path, tmp_path):
    graph = tmp_path / "graph.yaml"
    graph.write_text("edges: [hunch -> coupon, hunch -> spend, before -> coupon, before -> spend, coupon -> spend]\n")
    found = estimate(path, asked(confounders=("before",), graph=graph))
    assert found["verdict"] == "not identified"
    assert "coupon ← hunch → spend stays open" in found["checks"][1]["detail"]
    assert found["estimates"] == []
    graph.write_text(
        "edges: [coupon -> visits_before, spend -> visits_before, before -> coupon, before -> spend, coupon -> spend]\n"
    )
    collides = estimate(path, asked(confounders=("before", "visits_before"), graph=graph))
    assert collides["adjusted_for"] == ["before"]
    assert "visits_before is no confounder" in collides["warnings"][0]
    graph.write_text("edges: [coupon to spend]\n")
    with pytest.raises(CausalFileError, match="'coupon to spend' is no edge"):
        estimate(path, asked(graph=graph))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"treatment": "cupon"}, "has no column cupon; there are id, coupon, spend"),
        ({"treatment": "same"}, "column same: the treatment is 1 in each row. There is nothing to compare"),
        ({"treatment": "spend"}, "spend is both treatment and outcome"),
        ({"confounders": ("coupon",)}, "coupon is the treatment and among the confounders, too. Take it out"),
        ({"modifiers": ("spend",)}, "spend is the outcome and among the modifiers, too"),
        ({"negative_controls": ("before",)}, "before is a negative control and adjusted for, too"),
        ({"confounders": ("id",)}, "column id: it has 600 values in 600 rows, so it tells rows apart"),
        ({"treatment": "shop"}, "column shop: it has 120 levels, and 10 can be compared"),
        ({"treatment": "arm", "kind": "binary"}, "column arm: it has 3 levels, not two"),
        ({"kind": "continuous"}, "column coupon: it holds no. A continuous treatment is a number"),
        (
            {"outcome": "region", "confounders": ("before",)},
            "column region: it holds '(south|north)', and the outcome is a number",
        ),
        ({"outcome": "since", "confounders": ("before",)}, "column since: it holds dates, and the outcome is"),
        ({"outcome": "same"}, "column same: it is 1 in each row. An outcome varies"),
        ({"control": "maybe"}, "no row has 'maybe'; the levels are no, yes"),
        ({"kind": "continuous", "treatment": "depth", "estimand": "ATT"}, "An amount has no untreated rows"),
        ({"treatment": "depth", "estimand": "ATT"}, "An amount has no untreated rows"),
    ],
)
def test_a_question_that_cannot_be_asked_says_why(path, changes, message):
    with pytest.raises(CausalFileError, match=message):
        estimate(path, asked(**changes))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "is not there. Give a CSV or Parquet file with --data"),
        ("table.xlsx", b"x", "is none of .csv, .csv.gz, .parquet"),
        ("empty.csv", b"", "empty.csv is empty. Give a file with a line of names and rows"),
        ("latin1.csv", "coupon,spend\nja,1\nNü,2\n".encode("latin1"), "Latin-1 perhaps. Save it as UTF-8"),
        ("utf16.csv", ("coupon,spend\n" + "yes,1\nno,2\n" * 60).encode("utf-16"), "is in UTF-16. Save it as UTF-8"),
        ("broken.parquet", b"PAR1 no", "cannot be read"),
        ("few.csv", b"coupon,spend\nyes,1\nno,2\n", "has 2 rows with a treatment and an outcome, and 100 are needed"),
        ("inf.csv", b"coupon,spend\n" + b"yes,1\nno,inf\n" * 60, "column spend: it holds an infinite value"),
        (
            "huge.csv",
            b"coupon,spend\n" + b"yes,1e160\nno,2e160\n" * 60,
            "column spend: it holds 2e.160, which cannot be",
        ),
        (
            "words.csv",
            b"coupon,spend\n" + b"yes,1\nno,lots\n" * 60,
            "column spend: it holds 'lots', and the outcome is",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CausalFileError, match=message):
        estimate(path, Asked("coupon", "spend"))
    if "UTF" in message or "empty" in message:  # experiments read files of their own way, and say the same
        with pytest.raises(BenchDataError, match=message):
            analyse(path, Experiment("coupon", ("spend",)))


def test_a_folder_is_told_as_one(tmp_path):
    with pytest.raises(CausalFileError, match=r"is a folder\. Give a file in it with --data"):
        estimate(tmp_path, Asked("coupon", "spend"))
    with pytest.raises(BenchDataError, match=r"is a folder\. Give a file in it with --data"):
        analyse(tmp_path, Experiment("coupon", ("spend",)))


@pytest.mark.parametrize(
    "written_as",
    ["%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%b %d %Y", "%B %d, %Y", "%d %b %Y", "%d.%m.%y", "%d.%m.%Y %H:%M"],
)
def test_dates_are_days_or_refused_and_never_words(tmp_path, written_as):
    draw = np.random.default_rng(4)
    days = [date(2024, 1, 31) + timedelta(days=int(day)) for day in draw.integers(0, 200, 300)]
    columns = {
        "t": draw.integers(0, 2, 300),
        "y": draw.normal(size=300),
        "since": [d.strftime(written_as) for d in days],
    }
    pq.write_table(pa.table(columns), path := tmp_path / "dates.parquet")
    with pytest.raises(CausalFileError, match=r"column since: it holds dates, and one is '.*'\. Write dates"):
        read(path, Asked("t", "y", ("since",)))
    for way, is_date in (("%Y/%m/%d", True), ("%Y-%m-%d", True), ("week %W", False)):
        pq.write_table(pa.table({**columns, "since": [day.strftime(way) for day in days]}), path)
        names = read(path, Asked("t", "y", ("since",))).study.confounders.names
        assert (names == ("since",)) == is_date


@pytest.fixture(scope="module")
def programme(tmp_path_factory) -> Path:
    """A training that only some could get, held against many who never could; it adds 4 to those who got it."""
    draw = np.random.default_rng(6)
    skill = np.concatenate([draw.normal(0, 1, 500), draw.normal(2.5, 1, 4000)])
    trained = (np.arange(4500) < 500) & (draw.random(4500) < 1 / (1 + np.exp(skill)))
    earned = 3 * skill + 4 * trained + draw.normal(0, 1, 4500)
    found = tmp_path_factory.mktemp("files") / "programme.parquet"
    pq.write_table(pa.table({"skill": skill, "trained": trained, "earned": earned}), found)
    return found


def test_where_not_all_could_be_treated_the_effect_on_the_treated_is_told(programme):
    question = Asked("trained", "earned", ("skill",))
    told = estimate(programme, question)
    assert (told["verdict"], told["estimand"]) == ("identified", "ATT")
    assert told["answer"][0]["ci_low"] < 4 < told["answer"][0]["ci_high"]
    assert "There is no answer for all" in told["warnings"][0]
    assert told["question"].endswith("on average over those who got it?")
    for refused in (Asked(**{**vars(question), "estimand": "ATE"}), Asked(**{**vars(question), "trims": False})):
        answer = estimate(programme, refused)
        assert (answer["verdict"], answer["estimand"], answer["answer"]) == ("not identified", "ATE", None)


def test_the_effect_on_the_treated_is_not_advised_where_it_was_tried(tmp_path):
    draw = np.random.default_rng(6)
    skill = draw.normal(size=1000)
    columns = {"skill": skill, "trained": skill > 0.2, "earned": skill + draw.normal(size=1000)}
    pq.write_table(pa.table(columns), path := tmp_path / "rule.parquet")
    for estimand, is_tried in ((None, True), ("ATE", False)):
        found = estimate(path, Asked("trained", "earned", ("skill",), estimand=estimand))
        (detail,) = [one["detail"] for one in found["checks"] if one["name"] == "overlap"]
        assert found["verdict"] == "not identified"
        assert ("(ATT) is refused, too: ask of a population" in detail) == is_tried
        assert ("ask for the effect on the treated" in detail) != is_tried
