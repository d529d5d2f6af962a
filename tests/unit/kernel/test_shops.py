"""A shop file is read with its variables, and a mistake in it is named."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from cartograph.settings import Settings, load_settings
from cartograph.shops import ShopError, list_shops, load_shop, unknown_variables
from cartograph.windows import Grain
from cartograph.yaml_files import YamlFileError, read_yaml

GOOD = """
title: Corner shop
currency: EUR
start: 2024-01-15
end: 2024-03-10
sources:
  - type: some.Source
    datasets: [orders]
    attributes: {path: "${CARTOGRAPH_FILES:-here}/x.csv", size: 3}
  - type: other.Source
    datasets: {customers: {select: "select 1"}}
"""
# Ten times ten times ten …: a screen of text for 10^30 words.
LAUGHS = "dbt_vars:\n  a0: &a0 [ha]\n" + "".join(
    f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 31)
)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shops").mkdir()
    return load_settings(shop="corner", shops_dir=tmp_path / "shops")


def write(settings: Settings, text: str) -> None:
    (settings.resolved_shops_dir / "corner.yaml").write_text(text, encoding="utf-8")


def test_a_shop_is_read_with_its_variables(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    write(settings, GOOD)
    assert load_shop(settings).sources[0].attributes == {"path": "here/x.csv", "size": 3}
    monkeypatch.setenv("CARTOGRAPH_FILES", "/data")
    shop = load_shop(settings)
    assert shop.sources[0].attributes["path"] == "/data/x.csv"
    assert shop.datasets == {"orders", "customers"}
    assert shop.end == date(2024, 3, 10)
    assert list_shops(settings) == ["corner"]


def test_windows_cover_the_dates_of_a_closed_shop(settings: Settings) -> None:
    write(settings, GOOD)
    keys = [w.key for w in load_shop(settings).windows("monthly", datetime(2030, 1, 1, tzinfo=UTC))]
    assert keys == ["2024-01-01", "2024-02-01", "2024-03-01"]


def test_an_open_shop_has_the_windows_that_have_ended(settings: Settings) -> None:
    write(settings, GOOD.replace("end: 2024-03-10\n", ""))
    keys = [w.key for w in load_shop(settings).windows("monthly", datetime(2024, 3, 20, tzinfo=UTC))]
    assert keys == ["2024-01-01", "2024-02-01"]


def test_an_alias_stands_for_what_has_its_anchor(settings: Settings) -> None:
    strict = "nulls_are_usual: &strict {severity: error}\n  volume_is_usual: {<<: *strict, z: 3}\n"
    write(settings, f"{GOOD}quality:\n  {strict}  values_are_usual: *strict\n")
    assert load_shop(settings).quality == {
        "nulls_are_usual": {"severity": "error"},
        "volume_is_usual": {"severity": "error", "z": 3},
        "values_are_usual": {"severity": "error"},
    }


@pytest.mark.parametrize("grain", ["daily", "weekly", "monthly"])
def test_the_last_end_of_all_can_be_reached(settings: Settings, grain: Grain) -> None:
    write(settings, GOOD.replace("2024-01-15", "9998-12-15").replace("2024-03-10", "9999-01-01"))
    shop = load_shop(settings)
    windows = shop.windows(grain, datetime(2024, 1, 1, tzinfo=UTC))
    assert windows[0] == shop.first_window(grain)
    assert windows[-1].end >= shop.span.end


def test_a_shop_that_has_just_begun_has_a_first_window_that_has_not_ended(settings: Settings) -> None:
    write(settings, GOOD.replace("end: 2024-03-10\n", ""))
    shop = load_shop(settings)
    assert shop.windows("monthly", datetime(2024, 1, 20, tzinfo=UTC)) == []
    assert shop.first_window("monthly").key == "2024-01-01"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "freshness: {every: month}", "freshness.every"),
        (GOOD + "freshness: {hour: 24}", "freshness.hour"),
        ("title: [", "not valid YAML"),
        ("- a\n- b\n", "must be a mapping"),
        (GOOD.replace("currency: EUR", "currency: euro"), "currency: .*, got 'euro'"),
        (GOOD.replace("start: 2024-01-15", "start: tomorrow"), "start: .*, got 'tomorrow'"),
        (GOOD.replace("end: 2024-03-10", "end: 2023-03-10"), "must be after start"),
        (GOOD.replace("title: Corner shop\n", ""), "title"),
        (GOOD.replace("datasets: [orders]", "datasets: [customers]"), "more than one source delivers customers"),
        (GOOD.replace(":-here", ""), "needs the variable CARTOGRAPH_FILES"),
        (GOOD.replace("CARTOGRAPH_FILES", "HOME"), "only CARTOGRAPH_"),
        (GOOD + "colour: red\n", "colour"),
        (GOOD + "2024: x\n", "2024 is no name"),
        (GOOD + "quality: &a {orders: *a}\n", r"the alias \*a stands in what has an anchor"),
        (GOOD + "quality: &a {<<: *a}\n", r"the alias \*a"),
        (GOOD + LAUGHS, r"the alias \*a0"),
        (GOOD + f"dbt_vars: {{x: {'[' * 5_000}{']' * 5_000}}}\n", "nested too deeply"),
        (GOOD + f"dbt_vars: {{x: {'[' * 200_000}", "nested too deeply"),
        (GOOD + "name: other\n", "leave out name"),
        (GOOD + "title: Another shop\n", r"line \d+: title is there twice"),
        (GOOD + "freshness:\n  hour: 3\n  hour: 4\n", "hour is there twice"),
        (GOOD.replace("end: 2024-03-10", "end: 9999-12-31"), "leave `end` out for a shop that goes on"),
        (GOOD.replace("start: 2024-01-15", "start: 9999-12-31").replace("end: 2024-03-10\n", ""), "must be before"),
        (GOOD.replace("start: 2024-01-15", "start: 2024-13-01"), "month must be in 1..12"),
    ],
)
def test_a_mistake_is_named(settings: Settings, text: str, message: str) -> None:
    write(settings, text)
    with pytest.raises(ShopError, match=message) as error:
        load_shop(settings)
    assert "corner.yaml" in str(error.value)


def test_names_may_come_again_in_other_mappings_and_those_taken_in_may_be_overruled(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("a: &first {x: 1, y: [{x: 2}, {x: 3}]}\nb: {<<: *first, x: 4}\n? [x, x]\n: x\nx: 5\n")
    with pytest.raises(YamlFileError, match="not valid YAML"):  # a list is no name
        read_yaml(path, "a mapping")
    path.write_text("a: &first {x: 1, y: [{x: 2}, {x: 3}]}\nb: {<<: *first, x: 4}\nx: 5\n")
    assert read_yaml(path, "a mapping")["b"] == {"x": 4, "y": [{"x": 2}, {"x": 3}]}


def test_a_misspelt_variable_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    write(settings, GOOD)
    monkeypatch.delenv("CARTOGRAPH_ONLINE_RETAIL_FILES", raising=False)
    monkeypatch.setenv("CARTOGRAPH_FILES", "/data")
    monkeypatch.setenv("CARTOGRAPH_HOMME", "/data")
    assert unknown_variables(settings) == {"CARTOGRAPH_HOMME": "CARTOGRAPH_HOME"}


def test_an_unknown_shop_is_told_what_there_is(settings: Settings) -> None:
    write(settings, GOOD)
    with pytest.raises(ShopError, match=r"There is no shop 'nowhere'.*corner"):
        load_shop(settings, "nowhere")
