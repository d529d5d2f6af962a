"""Daily demand: what its rows say of hand-made orders and stock, and what of them a forecast takes for demand."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import pytest

from cartograph.shops import Replenishment
from ml_assets.core.features.daily_demand import CONTRACT, DAILY_DEMAND, daily_demand, differing
from ml_assets.core.models.demand import daily
from ml_assets.core.models.demand.forecaster import Forecast, fit
from ml_assets.core.models.demand.predictions import (
    ADVICE,
    EXPLANATIONS,
    FORECASTS,
    Predicted,
    Realised,
    advice_rows,
    explain,
    forecast_rows,
    horizon,
    predict,
    realised,
    terms,
)
from ml_assets.core.models.demand.training import NAME, PARAMETERS, train
from ml_assets.core.models.errors import NotEnoughData, TooYoung
from ml_assets.core.registry import NoModel, Registered

SCHEMAS = {
    "fct_order_items": "order_id VARCHAR, product_id VARCHAR, product_key VARCHAR, order_date DATE, quantity BIGINT, "
    "gross_amount DECIMAL(18,2), discount_amount DECIMAL(18,2), is_cancelled BOOLEAN",
    "fct_inventory_daily": "product_id VARCHAR, product_key VARCHAR, snapshot_date DATE, quantity_on_hand BIGINT, "
    "quantity_received BIGINT",
    "dim_products": "product_key VARCHAR, category VARCHAR",
    "dim_dates": "date_day DATE, is_holiday BOOLEAN",
}
MARTS = {name: f"SELECT * FROM {name}" for name in SCHEMAS}
FIRST = date(2024, 3, 1)


@pytest.fixture
def con() -> Any:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, columns in SCHEMAS.items():
            connection.execute(f"CREATE TABLE {name} ({columns})")
        connection.execute("INSERT INTO dim_products VALUES ('a1', 'tea'), ('a2', 'toys'), ('b1', NULL)")
        connection.execute("INSERT INTO dim_dates VALUES ('2024-03-03', true), ('2024-03-04', false)")
        yield connection


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def sell(con: Any, number: int, units: int, *, product: str = "a", order: str = "O1", **more: Any) -> None:
    con.execute(
        "INSERT INTO fct_order_items VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            *(order, product, more.get("key", f"{product}1"), day(number), units),
            *(more.get("gross", 2 * units), more.get("discount", 0), more.get("cancelled", False)),
        ],
    )


def count(con: Any, number: int, on_hand: int, *, product: str = "a", received: int = 0) -> None:
    con.execute(
        "INSERT INTO fct_inventory_daily VALUES (?, ?, ?, ?, ?)",
        [product, f"{product}1", day(number), on_hand, received],
    )


def rows(con: Any, first: int = 0, last: int = 10, **marts: str) -> list[dict[str, Any]]:
    return daily_demand(con, marts or MARTS, day(first), day(last)).to_pylist()


def read(con: Any, as_of: int, ahead: int = 3) -> daily.Demand:
    con.execute("DROP TABLE IF EXISTS daily_demand")
    con.register("computed", daily_demand(con, MARTS, day(-100), day(1000)))
    con.execute("CREATE TABLE daily_demand AS FROM computed")
    tables = {name: f"SELECT * FROM {name}" for name in daily.TABLES}
    return daily.read(con, tables, day(as_of), ahead)


def test_a_row_says_what_was_asked_for_at_what_price_and_what_was_there(con):
    sell(con, 0, 2, gross=10, discount=1)
    sell(con, 0, 3, order="O2", gross=12, cancelled=True)
    sell(con, 0, 1, order="O2", gross=3)
    count(con, 0, 4, received=6)
    (row,) = rows(con)
    assert row == {
        "product_id": "a",
        "demand_date": FIRST,
        "category": "tea",
        "ordered_units": 6,
        "orders_count": 2,
        "mean_price_amount": pytest.approx(25 / 6),
        "discount_share": pytest.approx(1 / 25),
        "stock_units": 4,
        "received_units": 6,
        "was_available": 1,
    }


def test_nulls_are_where_the_catalogue_says_so(con):
    sell(con, 0, 1, product="b", gross=0)
    count(con, 1, 7)
    free, unsold = rows(con)
    assert {name for name, value in free.items() if value is None} == {
        *("category", "discount_share", "stock_units", "received_units", "was_available")
    }
    assert {name for name, value in unsold.items() if value is None} == {"mean_price_amount", "discount_share"}
    nullable = {column.name for column in CONTRACT.columns if column.nullable}
    assert nullable == {feature.name for feature in DAILY_DEMAND.features if feature.null_means} | {"category"}


def test_a_product_has_the_category_that_it_had_on_that_day(con):
    sell(con, 0, 1)
    sell(con, 1, 1, key="a2")
    assert [row["category"] for row in rows(con)] == ["tea", "toys"]


def test_days_of_other_windows_change_no_row(con):
    sell(con, 2, 5)
    count(con, 2, 1)
    before = rows(con, 2, 3)
    for number in (1, 3):
        sell(con, number, 9, order="O9")
        count(con, number, 0)
    assert rows(con, 2, 3) == before
    assert [row["demand_date"] for row in rows(con, 1, 3)] == [day(1), day(2)]


def test_a_shop_that_counts_no_stock_has_its_orders(con):
    sell(con, 0, 2)
    count(con, 0, 5)
    (row,) = rows(con, **{name: select for name, select in MARTS.items() if name != "fct_inventory_daily"})
    assert (row["ordered_units"], row["stock_units"], row["was_available"]) == (2, None, None)


def test_lost_and_doubled_lines_are_found_and_partitions_not_made_yet_are_not(con):
    sell(con, 0, 2)
    sell(con, 3, 4, product="b")
    sell(con, 40, 1)
    con.register("stored", daily_demand(con, MARTS, day(0), day(10)))
    stored = "SELECT * FROM stored"

    def found(select: str) -> tuple[int, int, list[str]]:
        return differing(con, MARTS["fct_order_items"], select, "monthly", 10)

    assert found(stored) == (6, 6, [])
    assert found(f"{stored} WHERE product_id = 'a'") == (2, 6, ["b on 2024-03-04"])
    assert found(f"SELECT * REPLACE (ordered_units + 1 AS ordered_units) FROM ({stored})")[2] == [
        *("a on 2024-03-01", "b on 2024-03-04")
    ]


def test_a_day_that_could_not_be_sold_is_unknown_and_one_that_sold_out_is_not(con):
    for number, (units, left) in enumerate([(3, 5), (5, 0), (0, 0), (0, 4)]):
        count(con, number, left)
        if units:
            sell(con, number, units)
    demand = read(con, 4)
    np.testing.assert_array_equal(demand.panel.quantity[0], [3, 5, np.nan, 0, *[np.nan] * 3])
    assert demand.panel.offered[0, :4].all()
    assert (demand.origin, demand.stock.tolist()) == (4, [4.0])


def test_a_product_is_on_offer_from_its_first_row_to_its_last_count(con):
    sell(con, 0, 1, product="b")
    for number in range(2, 5):
        count(con, number, 9)
    demand = read(con, 100)
    assert demand.panel.series == ("a", "b")
    np.testing.assert_array_equal(np.flatnonzero(demand.panel.offered[0]), [2, 3, 4])
    np.testing.assert_array_equal(np.flatnonzero(demand.panel.offered[1]), np.arange(daily.UNSOLD_DAYS + 1))
    assert demand.panel.ended(demand.origin).tolist() == [True, False]
    assert np.isnan(demand.stock).all(), "a count of three months ago tells nothing"


def test_nothing_from_the_as_of_date_on_is_read_but_holidays(con):
    sell(con, 0, 1)
    sell(con, 2, 50)
    demand = read(con, 2)
    assert np.nansum(demand.panel.quantity) == 1
    assert demand.panel.regressors[daily.HOLIDAY].tolist() == [[0, 0, 1, 0, 0]]
    with pytest.raises(NotEnoughData, match="Nothing was ordered before 2024-03-01"):
        read(con, 0)


def test_a_short_history_is_told_with_what_is_kept_for_the_test(con):
    for number in range(80):
        sell(con, number, 1 + number % 3)
    with pytest.raises(TooYoung, match=r"The last 56 days are kept to test on\. A forecast of 14 periods needs"):
        train(read(con, 80, 14), 14)


def test_a_shop_that_counts_its_stock_and_sells_only_lately_has_nothing_to_learn_from(con):
    for number in range(200):
        count(con, number, 9)
        if number >= 140:
            sell(con, number, 1 + number % 2)
    with pytest.raises(NotEnoughData, match="All quantities to learn from are 0"):
        train(read(con, 200, 14), 14)


def test_products_that_always_sell_as_much_cannot_be_judged(con):
    for number in range(200):
        sell(con, number, 2)
    with pytest.raises(NotEnoughData, match="no product was ordered in changing quantities"):
        train(read(con, 200, 14), 14)


@pytest.fixture
def fitted(con) -> tuple[daily.Demand, Registered]:
    """Two products, one of them counted, and a model of them."""
    draws = np.random.default_rng(5).poisson([[4], [9]], (2, 160))
    for number in range(160):
        sell(con, number, int(draws[0, number]) + 1)
        sell(con, number, int(draws[1, number]) + 1, product="b")
        count(con, number, 12)
    demand = read(con, 160, 14)
    model = fit(demand.panel, demand.origin, 14, PARAMETERS)
    return demand, Registered(NAME, "3", model.to_text().encode(), {})


def test_forecasts_have_a_row_for_each_day_and_advice_one_for_what_is_counted(con, fitted):
    predicted = predict(con, {name: f"SELECT * FROM {name}" for name in daily.TABLES}, fitted[1], day(160))
    table = forecast_rows(predicted, day(160))
    assert table.schema == FORECASTS.arrow_schema()
    assert [(row["product_id"], row["forecast_date"]) for row in table.to_pylist()] == [
        (product, day(160 + ahead)) for product in "ab" for ahead in range(14)
    ]
    means = table["mean_units"].to_numpy()
    assert means[:14].mean() == pytest.approx(5, rel=0.2)
    assert means[14:].mean() == pytest.approx(10, rel=0.2)
    advice = advice_rows(predicted, terms(Replenishment(lead_days=3, review_days=4)), day(160))
    assert advice.schema == ADVICE.arrow_schema()
    (row,) = advice.to_pylist()
    assert (row["product_id"], row["stock_units"], row["demand_model_version"]) == ("a", 12, "3")
    assert row["expected_units"] == pytest.approx(means[:7].sum())
    assert row["order_units"] == row["reorder_point_units"] - 12 > row["expected_units"] - 12


def test_explanations_add_up_to_the_forecasts_of_the_first_week(con, fitted):
    tables = {name: f"SELECT * FROM {name}" for name in daily.TABLES}
    table = explain(con, tables, fitted[1], day(160))
    assert table.schema == EXPLANATIONS.arrow_schema()
    means = forecast_rows(predict(con, tables, fitted[1], day(160)), day(160))["mean_units"].to_numpy().reshape(2, 14)
    for product, week in zip("ab", means[:, :7], strict=True):
        rows = [row for row in table.to_pylist() if row["product_id"] == product]
        assert len({row["feature"] for row in rows}) == len(rows) > 20
        total = rows[0]["base_value"] + sum(row["contribution"] for row in rows)
        assert total == pytest.approx(np.log(week).mean(), abs=1e-9)
        (level,) = (row for row in rows if row["feature"] == "seasonal_level")
        assert level["feature_value"] == pytest.approx(5 if product == "a" else 10, rel=0.3)
        assert (level["contribution"] > 0) == (product == "b"), "b sells more than both do on average"
        assert {row["demand_model_version"] for row in rows} == {"3"}


def test_a_model_that_does_not_reach_or_fit_is_refused_with_its_cure(con, fitted):
    tables = {name: f"SELECT * FROM {name}" for name in daily.TABLES}
    predicted = predict(con, tables, fitted[1], day(160))
    with pytest.raises(NoModel, match=r"Version 3 .* over 40 periods .* Materialize models/demand_forecaster again"):
        advice_rows(predicted, terms(Replenishment(lead_days=20, review_days=20)), day(160))
    text = fitted[1].content.replace(b"is_holiday_value", b"price_value")
    for ask in (predict, explain):
        with pytest.raises(NoModel, match="knows the features"):
            ask(con, tables, fitted[1]._replace(content=text), day(160))


def test_terms_are_the_shops_or_those_of_its_costs():
    assert terms(Replenishment()) == (7, 7, 0.95)
    assert terms(Replenishment(shortage_cost=4, holding_cost=1)).service_level == pytest.approx(0.8)
    assert (horizon(Replenishment()), horizon(Replenishment(lead_days=20, review_days=7))) == (14, 27)
    with pytest.raises(ValueError, match="give both or none"):
        Replenishment(shortage_cost=1)


def test_what_came_is_held_against_the_latest_forecast_of_which_it_is_known(con):
    flat = np.full((1, 3), 4.0)
    for as_of in (0, 5, 20):
        forecast = Forecast(("a",), np.arange(day(as_of), day(as_of + 3)), flat, flat, *fixed_errors())
        con.register(f"of_{as_of}", forecast_rows(Predicted(forecast, np.array([np.nan]), "1"), day(as_of)))
    forecasts = "SELECT * FROM of_0 UNION ALL FROM of_5 UNION ALL FROM of_20"
    sell(con, 5, 3)
    sell(con, 6, 40)
    count(con, 7, 0)
    con.register("stored", daily_demand(con, MARTS, day(0), day(30)))
    stored = "SELECT * FROM stored"
    assert realised(con, forecasts, stored, day(0)) is None
    assert realised(con, forecasts, stored, day(6)) == Realised(day(5), 1, 4.0, 3.0, 1.0)
    found = realised(con, forecasts, stored, day(20))
    assert found == Realised(day(5), 2, 8.0, 43.0, 0.5), "the day without stock counts nowhere"
    assert found.off == pytest.approx(8 / 43 - 1)


def fixed_errors() -> tuple[Any, ...]:
    """Errors of a distribution from 0 to twice the mean."""
    from ml_assets.core.models.demand.forecaster import LEVELS, Errors

    errors = Errors((), (tuple(2 * level - 1 for level in LEVELS),))
    return errors, (errors,) * 3, True, (0.95,)
