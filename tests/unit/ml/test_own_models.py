"""A shop's own model: the form of its file, what is said of each mistake, its estimators, and its baseline."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from cartograph.cli.app import app
from cartograph.lake import Lake
from cartograph.settings import Settings, SettingsError, load_settings
from ml_assets.core.models.errors import OwnModelError
from ml_assets.core.own_models.estimators import steps, try_out
from ml_assets.core.own_models.folder import model_files
from ml_assets.core.own_models.form import Estimator, FeatureRule, own_model, read_model
from ml_assets.core.own_models.question import LABEL, rules
from ml_assets.core.own_models.target import marts_of, read_events, try_events
from ml_assets.core.own_models.window import require_in_window
from tests.model.planted import date_of, planted_shop, publish_marts

EXAMPLES = Path(__file__).parents[3] / "models"
ALLOWED = Settings().allowed_estimators
EVENTS = "select customer_id, ordered_at as happened_at from fct_orders"
SOUND = {
    "description": "Who orders.",
    "owner": "team:marketing",
    "target": {"events": EVENTS, "within_days": 30},
    "estimator": {"path": "sklearn.linear_model.LogisticRegression"},
}


def changed(key: str, value: object) -> dict:
    """The sound content with `key`, or `part.key`, set to another value."""
    part, _, inner = key.partition(".")
    return SOUND | {part: {**SOUND[part], inner: value} if inner else value}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("owner", "me", "owner: String should match pattern"),
        ("owners", "team:a", "owners: there is no such key. Is owner meant? Keys: name, description, owner"),
        ("target.events", "drop table fct_orders", "Only SELECT statements"),
        ("target.events", f"{EVENTS}; {EVENTS}", "target.events: it has 2 statements"),
        ("target.events", "select * from read_csv('/etc/passwd')", "it calls read_csv(…), and may read marts alone"),
        ("target.events", "select * from '/etc/passwd'", "it reads /etc/passwd, and it may read dim_campaigns"),
        ("target.events", "select * from fct_order", "it reads fct_order, and it may read dim_campaigns, "),
        ("target.events", "select * from fct_order", "Is fct_orders or "),
        ("target.events", "select * from raw.fct_orders", "write fct_orders without a schema before it"),
        ("target.events", "select 1", "it reads no mart"),
        ("target.events", f"{EVENTS} where ordered_at < now()", "now() does not always give the same"),
        ("target.events", f"{EVENTS} where ordered_at < current_date", "current_date does not always give the same"),
        ("target.events", f"{EVENTS} where random() < 0.5", "random() does not always give the same"),
        ("target.events", f"{EVENTS} using sample 50%", "USING SAMPLE or TABLESAMPLE does not always give the same"),
        ("target.events", f"{EVENTS} tablesample 50%", "USING SAMPLE or TABLESAMPLE does not always give the same"),
        ("target.events", f"{EVENTS} limit 3000", "LIMIT or OFFSET without ORDER BY does not always give the same"),
        ("target.events", f"{EVENTS} limit 10%", "LIMIT or OFFSET without ORDER BY does not always give the same"),
        ("target.events", f"select * from ({EVENTS} offset 9)", "LIMIT or OFFSET without ORDER BY does not always"),
        ("target.events", EVENTS.replace("select", "select distinct on (customer_id)"), "DISTINCT ON without ORDER BY"),
        ("target.events", f"{EVENTS} qualify row_number() over () % 2 = 0", "row_number(…) OVER without ORDER BY does"),
        (
            "target.events",
            f"{EVENTS} qualify lag(1) over (partition by customer_id) = 1",
            "lag(…) OVER without ORDER BY",
        ),
        (
            "target.events",
            "select customer_id, any_value(ordered_at) as happened_at from fct_orders group by 1",
            "any_value(…) without ORDER BY in its brackets does not always give the same",
        ),
        ("target.events", "select nothing from", "target.events: it must be one SELECT"),
        (
            "target.events",
            "select customer_id from fct_orders",
            "target.events: its SELECT gives customer_id, and needs happened_at too. Name the customer customer_id and",
        ),
        (
            "target.events",
            "select customerid, ordered_at as happened_at from fct_orders",
            "and needs customer_id too. Name the customer customer_id and the moment happened_at. Is customerid meant?",
        ),
        (
            "target.events",
            "select customer_id, ordered_at from fct_orders union all select 1, 2",
            "needs happened_at too",
        ),
        ("target.events", "select customer_id, max(ordered_at) from fct_orders group by 1", "needs happened_at too"),
        ("target.within_days", True, "target.within_days: it must be a whole number of days, got true. It takes: The"),
        ("target.within_days", 0, "target.within_days: it must be from 1 to 365, got 0. It takes: The window"),
        ("target.within_days", 400, "it must be from 1 to 365, got 400. It takes: The window"),
        ("target.within_day", 30, "target.within_day: there is no such key. Is within_days meant?"),
        ("population", "order_count = 1", "population: there is no customer feature order_count. Is orders_count"),
        ("population", "orders_count in (select 1)", "population: it may only compare features"),
        ("population", "true) union select (1", "population: it may only compare features"),
        ("population", "orders_count = 'many'", "population: it cannot be run"),
        ("features", ["recency_day"], "features: there is no customer feature recency_day. Is recency_days"),
        ("features", [], "features: Tuple should have at least 1 item"),
        ("estimator.path", "sklearn.linear_model.LogisticRegresion", "Is sklearn.linear_model.LogisticRegression"),
        ("estimator.path", "os.system", "estimator.path: os.system is not allowed"),
        ("metric", "accuracy", "metric: Input should be 'auc', 'average_precision', 'neg_log_loss'"),
        ("baseline", {"feature": "recency"}, "baseline.feature: there is no customer feature recency. Is recency_days"),
        ("baseline", {"feature": "recency_days", "order": "up"}, "'ascending' or 'descending'"),
        ("margin", -1, "margin: Input should be greater than or equal to 0, got -1"),
        ("name", "x", "name: leave it out: a model is called after its file"),
    ],
)
def test_each_mistake_is_one_message_with_file_key_cause_and_cure(tmp_path, key, value, said):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(changed(key, value)), encoding="utf-8")
    with pytest.raises(OwnModelError) as error:
        read_model(file, taken=(), allowed=ALLOWED)
    assert str(error.value).startswith(f"{file}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("mine", "target: [", "mine.yaml is not valid YAML"),
        ("mine", "- a list", "mine.yaml must be a mapping"),
        ("My-Model", yaml.safe_dump(SOUND), "name: String should match pattern"),
        ("churn_classifier", yaml.safe_dump(SOUND), "is one of Cartograph's own models"),
        ("lifetime_value", yaml.safe_dump(SOUND), "is one of Cartograph's own models"),
        ("next_best_action", yaml.safe_dump(SOUND), "is one of Cartograph's own models"),
        ("fraud", yaml.safe_dump(SOUND), "is one of Cartograph's own models"),
    ],
)
def test_a_file_that_is_none_or_has_a_name_that_cannot_be_is_told_so(tmp_path, name, content, said):
    (tmp_path / f"{name}.yaml").write_text(content, encoding="utf-8")
    (found,) = model_files(Settings(models_dir=tmp_path))
    assert found.model is None
    assert said in found.problem


def test_a_folder_that_is_not_there_is_a_wrong_setting(tmp_path):
    with pytest.raises(SettingsError, match="there is no such folder"):
        model_files(Settings(models_dir=tmp_path / "nowhere"))
    assert model_files(Settings()) == []


def test_a_ranking_has_no_log_loss():
    with pytest.raises(OwnModelError, match="sorting by recency_days gives none: leave out baseline"):
        own_model({"name": "mine", **SOUND, "metric": "neg_log_loss", "baseline": {"feature": "recency_days"}})


def test_the_shipped_examples_can_be_used():
    files = model_files(Settings(models_dir=EXAMPLES))
    assert [file.path.stem for file in files] == ["refund_soon"]
    for file in files:
        assert not file.problem
        try_out(file.model.estimator)


def test_a_model_needs_the_marts_of_its_target_its_population_its_features_and_its_baseline():
    model = own_model({"name": "mine", **SOUND, "population": "refunds_180d = 0", "features": ["visit_days_30d"]})
    assert model.needs == {"fct_orders", "fct_refunds", "fct_events"}
    assert own_model({"name": "mine", **SOUND, "baseline": {"feature": "sessions_30d"}}).needs == {
        "fct_orders",
        "fct_events",
    }


@pytest.mark.parametrize(
    "select",
    [
        f"{EVENTS} order by ordered_at, order_id limit 3000",
        f"{EVENTS} qualify row_number() over (partition by customer_id order by ordered_at, order_id) = 2",
        f"{EVENTS} qualify rank() over (order by ordered_at) < 9 and count(*) over (partition by customer_id) > 1",
        "select customer_id, first(ordered_at order by order_id) as happened_at from fct_orders group by 1",
    ],
)
def test_a_target_may_take_rows_in_an_order_that_it_names(select):
    assert marts_of(select) == ("fct_orders",)


def test_a_target_may_have_steps_of_its_own():
    select = """
        with big as (select order_id from fct_order_items group by order_id having sum(gross_amount) > 100)
        select o.customer_id, o.ordered_at as happened_at from fct_orders o join big using (order_id) -- the large ones
    """
    assert marts_of(select) == ("fct_order_items", "fct_orders")
    tables = {
        "fct_orders": "SELECT 'O' || i AS order_id, 'C' || i AS customer_id, TIMESTAMPTZ '2025-01-01 12:00:00+00' AS "
        "ordered_at FROM range(3) t(i)",
        "fct_order_items": "SELECT 'O' || i AS order_id, 80 * i AS gross_amount FROM range(3) t(i)",
    }
    found = read_events(duckdb.connect, select, tables).to_pylist()
    assert [row["customer_id"] for row in found] == ["C2"]
    assert str(found[0]["day"]) == "2025-01-01"
    for looked_at in (read_events, try_events):
        with pytest.raises(OwnModelError, match=r"target\.events: its SELECT cannot be run: .*nothing"):
            looked_at(duckdb.connect, f"{EVENTS} where nothing > 1", tables)
        with pytest.raises(OwnModelError, match=r"target\.events: happened_at is DECIMAL\(2,1\), and must be"):
            looked_at(duckdb.connect, "select customer_id, 1.5 as happened_at from fct_orders", tables)
    with pytest.raises(OwnModelError, match=r"target\.events: its SELECT gives order_id, and needs customer_id and"):
        read_events(duckdb.connect, "select order_id from fct_orders", tables)


ORDER_DAY = "select customer_id, ordered_at as happened_at from fct_orders"
TARGETS = {
    "orders": ORDER_DAY,
    "orders that stand": f"{ORDER_DAY} where not is_cancelled",
    "the second order": f"{ORDER_DAY} qualify row_number() over (partition by customer_id order by ordered_at) = 2",
    "a return after a long silence": f"{ORDER_DAY} qualify ordered_at - lag(ordered_at) over "
    "(partition by customer_id order by ordered_at) > interval 45 day",
    "a visit": "select customer_id, occurred_at as happened_at from fct_events",
    "a visit, when the shop knew of it": "select customer_id, received_at as happened_at from fct_events",
    "of a shelf, by whoever wants mail": """
        select customer_id, ordered_at as happened_at from fct_order_items join dim_products using (product_key)
        join dim_customers c using (customer_id) where category = 'shelf 1' and c.is_current and is_email_opt_in""",
    "silence": """
        select customer_id, ordered_at + interval 30 day as happened_at from fct_orders
        qualify coalesce(lead(ordered_at) over (partition by customer_id order by ordered_at)
            > ordered_at + interval 30 day, true)""",
}
KNOWN_BEFORE = {
    "a fact that is moved into the window": "select customer_id, ordered_at + interval 60 day as happened_at "
    "from fct_orders",
    "an anniversary": "select customer_id, registered_at + interval 365 day as happened_at from dim_customers",
    "a trait on every day": "select customer_id, date_day as happened_at from dim_customers cross join dim_dates "
    "where is_email_opt_in",
    "moved and new ones": f"{ORDER_DAY} union all select customer_id, ordered_at + interval 40 day from fct_orders",
}
DECIDED_LATER = {
    "the last order ever": "select customer_id, max(ordered_at) as happened_at from fct_orders group by customer_id",
    "a fact that is moved back": "select customer_id, ordered_at - interval 60 day as happened_at from fct_orders",
    "whoever has that version now": f"{ORDER_DAY} join dim_customers using (customer_id) "
    "where is_current and version_number = 1",
    "an order before the next": f"{ORDER_DAY} qualify lead(ordered_at) over (partition by customer_id "
    "order by ordered_at) is not null",
}


@pytest.fixture(scope="module")
def planted_marts(tmp_path_factory):
    """Of events that the shop learns of two days later, and customers who have a second version since March 2025."""
    marts = planted_shop(600).write(tmp_path_factory.mktemp("planted"))
    marts["dim_customers"] = f"""
        SELECT * REPLACE (TIMESTAMPTZ '1900-01-01 00:00:00+00' AS valid_from,
            TIMESTAMPTZ '2025-03-01 00:00:00+00' AS valid_to, false AS is_current) FROM ({marts["dim_customers"]})
        UNION ALL SELECT * REPLACE (2 AS version_number, TIMESTAMPTZ '2025-03-01 00:00:00+00' AS valid_from,
            TIMESTAMPTZ '9999-12-31 00:00:00+00' AS valid_to) FROM ({marts["dim_customers"]})"""
    late = f"SELECT * REPLACE (received_at + INTERVAL 2 DAY AS received_at) FROM ({marts['fct_events']})"
    return {**marts, "fct_events": late}


def hold(select: str, tables: dict[str, str]) -> None:
    """Hold a target's labels of three months of the planted shop, in windows of 30 days."""
    used = {name: tables[name] for name in marts_of(select)}
    require_in_window(utc_connection, select, used, [date_of(day) for day in (300, 330, 360)], 30)


def utc_connection() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    return con


@pytest.mark.parametrize("select", TARGETS.values(), ids=TARGETS)
def test_a_target_whose_facts_are_of_the_window_is_taken(planted_marts, select):
    hold(select, planted_marts)


@pytest.mark.parametrize("select", KNOWN_BEFORE.values(), ids=KNOWN_BEFORE)
def test_a_target_that_is_known_before_its_window_is_refused(planted_marts, select):
    with pytest.raises(OwnModelError, match=r"target\.events: what it asks is known before: .* Let happened_at be"):
        hold(select, planted_marts)


@pytest.mark.parametrize("select", DECIDED_LATER.values(), ids=DECIDED_LATER)
def test_a_target_that_later_facts_decide_on_is_refused(planted_marts, select):
    with pytest.raises(OwnModelError, match=r"target\.events: what comes after a window decides on it: .* Let "):
        hold(select, planted_marts)


CORRECTED = f"{ORDER_DAY} join dim_customers using (customer_id) where is_current and version_number = 1"
FORESEEN = f"{ORDER_DAY} union all select customer_id, ordered_at + interval 40 day from fct_orders where is_moved"


def small_shop(few: int) -> dict[str, str]:
    """60 customers order in the window; so `few` of them have a new version after it, and so few more order before."""
    later = "TIMESTAMPTZ '2025-06-01'"
    return {
        "fct_orders": f"""
            SELECT 'C' || i AS customer_id, TIMESTAMPTZ '2025-03-10' AS ordered_at, false AS is_moved
            FROM range(60) t(i)
            UNION ALL SELECT 'D' || i, TIMESTAMPTZ '2025-02-10', true FROM range({few}) t(i)""",
        "dim_customers": f"""
            SELECT 'C' || i AS customer_id, TIMESTAMPTZ '2024-01-01' AS registered_at, version_number,
                CASE version_number WHEN 1 THEN TIMESTAMPTZ '2024-01-01' ELSE {later} END AS valid_from,
                CASE WHEN version_number < last_version THEN {later} END AS valid_to,
                version_number = last_version AS is_current
            FROM (SELECT i, CASE WHEN i < {few} THEN 2 ELSE 1 END AS last_version FROM range(60) t(i))
            JOIN range(1, 3) v(version_number) ON version_number <= last_version""",
    }


@pytest.mark.parametrize("select", [CORRECTED, FORESEEN], ids=["corrected", "foreseen"])
def test_of_a_small_shop_two_labels_may_be_corrected(select):
    for few in (0, 1, 2):
        require_in_window(utc_connection, select, small_shop(few), [date(2025, 3, 1)], 30)
    with pytest.raises(OwnModelError, match=r"target\.events: what .*: 3 of 6[03] "):
        require_in_window(utc_connection, select, small_shop(3), [date(2025, 3, 1)], 30)


@pytest.mark.parametrize("path", sorted(ALLOWED))
def test_each_allowed_estimator_exports_as_it_predicts(path):
    small = {
        "sklearn.ensemble.GradientBoostingClassifier": {"n_estimators": 20},
        "sklearn.ensemble.HistGradientBoostingClassifier": {"max_iter": 20},
        "sklearn.ensemble.RandomForestClassifier": {"n_estimators": 20, "max_depth": 6},
        "sklearn.neural_network.MLPClassifier": {"hidden_layer_sizes": [8], "max_iter": 50},
    }
    try_out(Estimator(path=path, params=small.get(path, {})))


@pytest.mark.parametrize(
    ("path", "params", "said"),
    [
        ("sklearn.linear_model.LogisticRegression", {"c": 1}, "LogisticRegression has no parameter c. Is C meant?"),
        (
            "sklearn.linear_model.LogisticRegression",
            {"C": "much"},
            "must be a float in the range (0.0, inf]. Got 'much'",
        ),
        ("sklearn.linear_model.Logistic", {}, "sklearn.linear_model.Logistic cannot be made"),
        ("sklearn.nothing.Model", {}, "sklearn.nothing.Model cannot be made: No module named"),
        ("sklearn.linear_model.LinearRegression", {}, "is no scikit-learn classifier"),
        ("sklearn.ensemble.ExtraTreesClassifier", {"n_estimators": 5}, "cannot be fitted and exported to ONNX"),
        ("sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis", {}, "gives other probabilities, by up to 0."),
    ],
)
def test_an_estimator_that_cannot_serve_is_refused_before_it_is_trained(path, params, said):
    with pytest.raises(OwnModelError) as error:
        try_out(Estimator(path=path, params=params))
    assert said in str(error.value)


def test_an_estimator_that_draws_has_a_fixed_seed_unless_the_file_has_one():
    path = "sklearn.ensemble.RandomForestClassifier"
    assert steps(Estimator(path=path))[-1].random_state == 7
    assert steps(Estimator(path=path, params={"random_state": 1}))[-1].random_state == 1


def test_a_baseline_sorts_by_its_feature_with_nulls_last_or_knows_the_share():
    rows = pa.table({"recency_days": pa.array([5, None, 1]), LABEL: [1, 0, 0]})
    (up,) = rules(FeatureRule(feature="recency_days", order="ascending")).values()
    (down,) = rules(FeatureRule(feature="recency_days", order="descending")).values()
    assert list(np.argsort(-up(rows))) == [2, 0, 1]
    assert list(np.argsort(-down(rows))) == [0, 2, 1]
    assert rules(None)["prior"](rows) == pytest.approx([1 / 3] * 3)


def test_the_check_command_tells_of_each_file_and_fails_where_one_is_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARTOGRAPH_MODELS_DIR", str(tmp_path))
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(SOUND), encoding="utf-8")
    fine = CliRunner().invoke(app, ["models", "check"])
    assert (fine.exit_code, "good" in fine.output) == (0, True)
    wrong = changed("estimator.params", {"c": 1})
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    told = CliRunner().invoke(app, ["models", "check"])
    assert told.exit_code == 1
    assert "has no parameter c" in " ".join(told.output.split())


def test_the_check_command_holds_a_target_against_the_marts_once_the_shop_has_them(tmp_path, monkeypatch):
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(
        "CARTOGRAPH_MODELS_DIR", str(write_model(tmp_path, "late", f"{EVENTS} where paid_at > ordered_at"))
    )
    before = CliRunner().invoke(app, ["models", "check"])
    assert before.exit_code == 0
    assert not (tmp_path / "home").exists()
    marts = {"fct_orders": planted_shop(20).marts["fct_orders"]}
    publish_marts(marts, Lake.from_settings(load_settings()))
    told = CliRunner().invoke(app, ["models", "check"])
    assert told.exit_code == 1
    assert "late.yaml: target.events: its SELECT cannot be run" in " ".join(told.output.split())
    assert "paid_at" in told.output
    write_model(tmp_path, "late", f"{EVENTS} where total_amount > 9")
    assert CliRunner().invoke(app, ["models", "check"]).exit_code == 0


def write_model(folder: Path, name: str, events: str) -> Path:
    """A file of a model with that target, alone in the folder that is given."""
    (models := folder / "models").mkdir(exist_ok=True)
    (models / f"{name}.yaml").write_text(yaml.safe_dump(changed("target.events", events)), encoding="utf-8")
    return models
