"""The panel of a shop's experiment, on marts of a few hundred customers: what counts, from when, and for whom."""

from __future__ import annotations

from datetime import date

import duckdb
import numpy as np
import pytest

from ml_assets.core.experiments.form import Experiment
from ml_assets.core.experiments.panel import assignments, panel
from ml_assets.core.experiments.report import contract, integrity, read_reports, report, row_of, unsound

EXPERIMENT = {
    "name": "banner",
    "description": "A banner.",
    "owner": "team:web",
    "starts": date(2025, 3, 1),
    "ends": date(2025, 4, 1),
    "variants": {"control": 0.5, "banner": 0.5},
    "metrics": (
        {"name": "orders", "of": "orders", "role": "primary"},
        {"name": "conversion", "kind": "conversion", "of": "orders"},
        {"name": "order_value", "kind": "ratio", "of": "net_revenue", "per": "orders"},
    ),
    "segments": ("country", "is_new", "had_ordered"),
}
CUSTOMERS = 400


def experiment(**changed: object) -> Experiment:
    return Experiment(**{**EXPERIMENT, **changed})  # type: ignore[arg-type]


class Shop:
    """Marts of customers who all were assigned at noon of 2 March, every second one to the banner."""

    def __init__(self) -> None:
        self.con = duckdb.connect()
        self.con.execute("SET TimeZone = 'UTC'")
        self.con.execute(f"""
            CREATE TABLE dim_customers AS SELECT 'C' || i AS customer_id, TIMESTAMPTZ '2024-01-01' AS registered_at,
                TIMESTAMPTZ '1900-01-01' AS valid_from, TIMESTAMPTZ '9999-12-31' AS valid_to,
                CASE WHEN i % 4 < 2 THEN 'DE' ELSE 'FR' END AS country FROM range({CUSTOMERS}) t(i);
            CREATE TABLE fct_experiment_assignments AS SELECT 'banner' AS experiment_id, 'C' || i AS customer_id,
                CASE WHEN i % 2 = 1 THEN 'banner' ELSE 'control' END AS variant,
                TIMESTAMPTZ '2025-03-02 12:00:00' AS assigned_at, DATE '2025-03-02' AS assignment_date
                FROM range({CUSTOMERS}) t(i);
            CREATE TABLE fct_orders (customer_id VARCHAR, ordered_at TIMESTAMPTZ, order_date DATE,
                shipping_amount DECIMAL(18, 2), is_cancelled BOOLEAN);
            CREATE TABLE fct_order_items (customer_id VARCHAR, ordered_at TIMESTAMPTZ, quantity BIGINT,
                net_amount DECIMAL(18, 2), is_cancelled BOOLEAN);
            CREATE TABLE fct_events (customer_id VARCHAR, event_type VARCHAR, occurred_at TIMESTAMPTZ, event_date DATE);
        """)
        self.marts = {
            name: f"SELECT * FROM {name}"
            for name in ("dim_customers", "fct_experiment_assignments", "fct_orders", "fct_order_items", "fct_events")
        }
        self.order("C399", "2025-06-01 09:00:00")  # the data go on long after the end

    def order(self, customer: str, at: str, *, amount: float = 10, cancelled: bool = False) -> None:
        self.con.execute(
            "INSERT INTO fct_orders SELECT $c, CAST($at AS TIMESTAMPTZ), CAST($at AS DATE), 0, $x",
            {"c": customer, "at": at, "x": cancelled},
        )
        self.con.execute(
            "INSERT INTO fct_order_items SELECT $c, CAST($at AS TIMESTAMPTZ), 1, $amount, $x",
            {"c": customer, "at": at, "x": cancelled, "amount": amount},
        )

    def assign(self, customer: str, variant: str, at: str, name: str = "banner") -> None:
        self.con.execute(
            """INSERT INTO fct_experiment_assignments
            SELECT $name, $c, $v, CAST($at AS TIMESTAMPTZ), CAST($at AS DATE)""",
            {"name": name, "c": customer, "v": variant, "at": at},
        )

    def some_orders(self) -> None:
        draw = np.random.default_rng(1)
        for customer in draw.integers(0, CUSTOMERS, 300):
            day = int(draw.integers(3, 31))
            self.order(f"C{customer}", f"2025-03-{day:02} 10:00:00", amount=float(draw.integers(5, 50)))


@pytest.fixture
def shop() -> Shop:
    return Shop()


def read(shop: Shop, made: Experiment):
    return panel(shop.con, shop.marts, made, assignments(shop.con, shop.marts, made).span)


def test_only_what_stands_between_the_assignment_and_the_end_counts(shop):
    for at in ("2025-03-02 11:59:00", "2025-03-02 12:00:00", "2025-03-31 23:59:59", "2025-04-01 00:00:00"):
        shop.order("C0", at)
    shop.order("C0", "2025-03-10 09:00:00", cancelled=True)
    found = read(shop, experiment())
    assert found.units.measured["orders"].value.sum() == 2
    assert found.before["orders"].sum() == 1
    assert found.units.measured["order_value"].weight.sum() == 2
    assert found.units.measured["conversion"].value.sum() == 1
    assert found.units.counts == {"control": 200, "banner": 200}


def test_the_time_before_goes_as_far_back_as_asked(shop):
    shop.order("C0", "2025-02-25 12:00:00")
    shop.order("C1", "2024-12-01 12:00:00")
    assert read(shop, experiment()).before["orders"].sum() == 1
    assert read(shop, experiment(covariate_days=365)).before["orders"].sum() == 2
    assert read(shop, experiment(covariate_days=0)).units.measured["orders"].covariates is None


def test_a_window_ends_for_each_customer_and_leaves_out_whose_is_not_over(shop):
    shop.order("C0", "2025-03-09 11:00:00")
    shop.order("C0", "2025-03-09 13:00:00")
    shop.con.execute("DELETE FROM fct_orders WHERE order_date > DATE '2025-03-15'")
    late = experiment(window_days=7)
    shop.con.execute("""UPDATE fct_experiment_assignments SET assigned_at = TIMESTAMPTZ '2025-03-05 12:00:00',
        assignment_date = DATE '2025-03-05' WHERE customer_id = 'C2'""")
    found = read(shop, late)
    assert found.units.measured["orders"].value.sum() == 1
    assert found.units.counts["control"] == 199, "C2's window ends after the data"
    assert found.span.state == "running"


def test_what_each_day_knew_grows_to_what_the_end_knows(shop):
    shop.some_orders()
    found = read(shop, experiment())
    totals = [found.at(day, experiment().metrics[0])[0].value.sum() for day in range(31)]
    assert totals == sorted(totals)
    assert totals[0] == 0
    assert totals[-1] == found.units.measured["orders"].value.sum()
    shares = [found.information(day) for day in range(31)]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_segments_are_as_they_were_at_the_assignment(shop):
    shop.order("C0", "2025-02-20 12:00:00")
    shop.con.execute("UPDATE dim_customers SET valid_to = TIMESTAMPTZ '2025-03-20' WHERE customer_id = 'C0'")
    shop.con.execute("""INSERT INTO dim_customers
        SELECT 'C0', registered_at, TIMESTAMPTZ '2025-03-20', TIMESTAMPTZ '9999-12-31', 'AT'
        FROM dim_customers LIMIT 1""")
    segments = read(shop, experiment()).units.segments
    assert set(segments["country"]) == {"DE", "FR"}
    assert (segments["had_ordered"] == "active before").sum() == 1
    assert set(segments["is_new"]) == {"known before"}


ASSIGNED = "fct_experiment_assignments"
FAULTS = [
    ("sample_ratio_holds", f"DELETE FROM {ASSIGNED} WHERE variant = 'banner' AND hash(customer_id) % 3 = 0"),
    (
        "nobody_has_two_variants",
        f"INSERT INTO {ASSIGNED} SELECT * REPLACE ('banner' AS variant) FROM {ASSIGNED} WHERE customer_id = 'C0'",
    ),
    ("variants_are_known", f"UPDATE {ASSIGNED} SET variant = 'new' WHERE customer_id = 'C1'"),
    (
        "assigned_while_it_ran",
        f"UPDATE {ASSIGNED} SET assignment_date = '2025-02-27', assigned_at = '2025-02-27' WHERE customer_id = 'C1'",
    ),
    (
        "assigned_while_it_ran",
        f"UPDATE {ASSIGNED} SET assignment_date = '2025-04-01', assigned_at = '2025-04-01' WHERE customer_id = 'C1'",
    ),
    (
        "nobody_is_exposed_before",
        "INSERT INTO fct_events VALUES ('C1', 'banner_seen', '2025-03-02 11:00:00', '2025-03-02')",
    ),
]


@pytest.mark.parametrize(("check", "sql"), FAULTS)
def test_each_planted_fault_makes_the_experiment_invalid(shop, check, sql):
    shop.some_orders()
    made = experiment(exposure={"event_type": "banner_seen"})
    assert all(one.passed for one in integrity(assignments(shop.con, shop.marts, made), made))
    shop.con.execute(sql)
    assert [one.name for one in integrity(assignments(shop.con, shop.marts, made), made) if not one.passed] == [check]
    result = report(shop.con, shop.marts, made, "EUR").result
    assert (result.verdict, result.estimates, result.segments) == ("invalid", (), ())
    assert f"{check} failed" in result.memo
    assert "No effect is told" in result.memo
    assert unsound(result) == []


def test_an_event_before_the_assignment_of_another_kind_or_time_is_no_exposure(shop):
    shop.con.execute("INSERT INTO fct_events VALUES ('C1', 'page_view', '2025-03-02 11:00:00', '2025-03-02')")
    shop.con.execute("INSERT INTO fct_events VALUES ('C1', 'banner_seen', '2025-03-02 13:00:00', '2025-03-02')")
    shop.con.execute("INSERT INTO fct_events VALUES ('C1', 'banner_seen', '2025-02-02 13:00:00', '2025-02-02')")
    made = experiment(exposure={"event_type": "banner_seen"})
    assert assignments(shop.con, shop.marts, made).assigned.exposed == 0


def test_without_dates_the_assignments_give_them(shop):
    shop.assign("C400", "control", "2025-03-20 10:00:00")
    span = assignments(shop.con, shop.marts, experiment(starts=None, ends=None)).span
    assert (span.starts, span.ends, span.state) == (date(2025, 3, 2), date(2025, 3, 21), "complete")


def test_one_that_nobody_is_in_abstains(shop):
    made = report(shop.con, shop.marts, experiment(experiment_id="other"), "EUR")
    assert (made.result.verdict, made.result.state, made.pictures) == ("hold", "planned", ())
    assert "Nobody is assigned to other" in made.result.reasons[0]


def test_one_that_still_runs_is_decided_by_the_intervals_of_every_look(shop):
    shop.some_orders()
    shop.con.execute("DELETE FROM fct_orders WHERE order_date > DATE '2025-03-20'")
    result = report(shop.con, shop.marts, experiment(), "EUR").result
    assert (result.state, str(result.as_of)) == ("running", "2025-03-21")
    assert "It still runs" in result.memo


def test_another_experiment_at_the_same_time_is_told_and_an_earlier_one_is_not(shop):
    shop.some_orders()
    for at in range(CUSTOMERS):
        shop.assign(f"C{at}", ("a", "b")[at // 2 % 2], "2025-03-10 10:00:00", "price")
        shop.assign(f"C{at}", ("a", "b")[at // 2 % 2], "2024-03-10 10:00:00", "past")
    warnings = report(shop.con, shop.marts, experiment(), "EUR").result.warnings
    assert any(told.startswith("price ran at the same time on 400 (100%)") for told in warnings)
    assert not any("past" in told for told in warnings)


def test_a_result_is_stored_and_read_as_it_is_and_its_pictures_are_the_same_again(shop):
    shop.some_orders()
    made, again = (report(shop.con, shop.marts, experiment(), "EUR") for _ in range(2))
    assert made == again
    assert [picture.name for picture in made.pictures] == ["assignment", "effects", "sequence"]
    assert all(picture.content.startswith(b"<?xml") for picture in made.pictures)
    shop.con.register("stored", row_of(made, contract(experiment()).arrow_schema()))
    assert read_reports(shop.con, ["FROM stored"]) == (made,)
    assert read_reports(shop.con, ["SELECT * EXCLUDE (pictures) FROM stored"]) == (made._replace(pictures=()),)
