"""The panel of products by weeks, from marts made by hand: what a row knows, and what makes it unusable."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import duckdb
import pytest

from ml_assets.core.questions import products
from ml_assets.core.questions.asked import QuestionError, made
from ml_assets.core.questions.posed import Data, NoAnswer
from ml_assets.core.questions.product_weeks import product_weeks
from ml_assets.core.questions.products import CONFOUNDERS, ProductQuestion, pose, study_of, usable

MONDAY = date(2024, 1, 1)
END = MONDAY + timedelta(weeks=10)
SELECTS = {name: f"SELECT * FROM {name}" for name in ("fct_order_items", "fct_orders", "dim_products")}
STOCK = {"fct_inventory_daily": "SELECT * FROM fct_inventory_daily"}


def day(week: int, weekday: int = 0) -> date:
    return MONDAY + timedelta(weeks=week, days=weekday)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """Product `p`: one unit a day, list price 10 and from week 5 on 12, no discount; stocked and counted each day."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"""
            CREATE TABLE days AS SELECT CAST(d AS DATE) AS day
            FROM generate_series(DATE '{MONDAY}', DATE '{END - timedelta(days=1)}', INTERVAL 1 DAY) AS s(d);
            CREATE TABLE fct_orders AS SELECT day::VARCHAR AS order_id, NULL::VARCHAR AS coupon_code FROM days;
            CREATE TABLE fct_order_items AS SELECT day::VARCHAR AS order_id, 'p' AS product_id, day AS order_date,
                1 AS quantity, 10.0 AS gross_amount, 0.0 AS discount_amount, 4.0 AS margin_amount,
                false AS is_cancelled FROM days;
            CREATE TABLE dim_products AS
            SELECT 'p1' AS product_key, 'p' AS product_id, TIMESTAMPTZ '1900-01-01' AS valid_from,
                10.0 AS list_price, 'tea' AS category, true AS is_active
            UNION ALL SELECT 'p2', 'p', TIMESTAMPTZ '{day(5)}', 12.0, 'tea', true;
            CREATE TABLE fct_inventory_daily AS
            SELECT 'p' AS product_id, day AS snapshot_date, 5 AS quantity_on_hand, 1 AS quantity_received FROM days""")
        yield connection


def weeks(con: duckdb.DuckDBPyConnection, *, stock: bool = True) -> list[dict[str, Any]]:
    return product_weeks(con, SELECTS | (STOCK if stock else {}), MONDAY, END).to_pylist()


def test_a_row_knows_its_week_and_what_came_before(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"UPDATE fct_order_items SET quantity = 3 WHERE order_date BETWEEN '{day(3)}' AND '{day(3, 6)}'")
    con.execute(f"UPDATE fct_order_items SET is_cancelled = true WHERE order_date = '{day(6)}'")
    rows = weeks(con)
    assert [row["week_start"] for row in rows] == [day(week) for week in range(10)]
    assert [row["units"] for row in rows] == [7, 7, 7, 21, 7, 7, 6, 7, 7, 7]
    assert rows[6]["margin_amount"] == 24
    assert rows[4]["recent_units"] == (7 + 7 + 7 + 21) / 4
    assert [round(row["list_price"], 6) for row in rows] == [10] * 5 + [12] * 5
    assert rows[9]["units_before_price"] == rows[5]["units_before_price"] == (7 + 7 + 7 + 21) / 4
    assert rows[4]["units_before_price"] is None
    assert rows[1]["later_list_price"] == pytest.approx(12)
    assert rows[7]["later_list_price"] is None
    assert rows[3]["on_sale_days"] == 21


def test_nothing_of_the_week_is_in_what_came_before(con: duckdb.DuckDBPyConnection) -> None:
    known = ("list_price", "on_sale_days", "recent_units", "earlier_units", "units_before_price", "after_stock_out")
    before = [{name: row[name] for name in known} for row in weeks(con)]
    con.execute(f"UPDATE fct_order_items SET quantity = 50 WHERE order_date >= '{day(7)}'")
    after = [{name: row[name] for name in known} for row in weeks(con)]
    assert before[:8] == after[:8]
    assert before[8:] != after[8:]


def test_a_discount_is_that_of_lines_without_a_coupon(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"UPDATE fct_orders SET coupon_code = 'SAVE10' WHERE order_id BETWEEN '{day(2)}' AND '{day(2, 3)}'")
    con.execute(f"UPDATE fct_order_items SET discount_amount = 1 WHERE order_id BETWEEN '{day(2)}' AND '{day(2, 3)}'")
    con.execute(f"UPDATE fct_order_items SET discount_amount = 2 WHERE order_id BETWEEN '{day(4)}' AND '{day(4, 6)}'")
    rows = weeks(con)
    assert [row["discount_share"] for row in rows[2:5]] == [0, 0, pytest.approx(0.2)]
    assert [row["is_steady"] for row in rows] == [1] * 10


def test_a_week_in_which_the_discount_begins_is_not_steady(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"UPDATE fct_order_items SET discount_amount = 2 WHERE order_date >= '{day(4, 3)}'")
    assert [row["is_steady"] for row in weeks(con)] == [1] * 4 + [0] + [1] * 5


def withdraw(con: duckdb.DuckDBPyConnection, first: date, last: date) -> None:
    con.execute(f"DELETE FROM fct_order_items WHERE order_date BETWEEN '{first}' AND '{last}'")
    con.execute(
        f"UPDATE fct_inventory_daily SET quantity_on_hand = 0, quantity_received = 0 "
        f"WHERE snapshot_date BETWEEN '{first}' AND '{last}'"
    )


def test_a_spell_out_of_stock_is_followed_by_four_weeks_after_it(con: duckdb.DuckDBPyConnection) -> None:
    withdraw(con, day(3, 4), day(3, 6))
    rows = weeks(con)
    assert [row["is_short"] for row in rows] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert [row["after_stock_out"] for row in rows] == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0]


def test_selling_the_last_one_is_no_spell(con: duckdb.DuckDBPyConnection) -> None:
    withdraw(con, day(3, 5), day(3, 6))
    con.execute(f"UPDATE fct_inventory_daily SET quantity_on_hand = 0 WHERE snapshot_date = '{day(3, 4)}'")
    assert not any(row["is_short"] for row in weeks(con))


def test_what_came_and_is_gone_by_night_was_sold_though_its_line_is_not_there(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"DELETE FROM fct_order_items WHERE order_date = '{day(3, 4)}'")
    con.execute(f"UPDATE fct_inventory_daily SET quantity_on_hand = 0 WHERE snapshot_date = '{day(3, 4)}'")
    assert not any(row["is_short"] for row in weeks(con))


def test_what_was_sold_on_a_day_without_a_count_is_no_spell(con: duckdb.DuckDBPyConnection) -> None:
    withdraw(con, day(3, 5), day(3, 6))
    con.execute(f"DELETE FROM fct_inventory_daily WHERE snapshot_date = '{day(3, 4)}'")
    assert not any(row["is_short"] for row in weeks(con))


def test_a_spell_is_found_though_its_first_count_is_not_there(con: duckdb.DuckDBPyConnection) -> None:
    withdraw(con, day(3, 4), day(3, 6))
    con.execute(f"DELETE FROM fct_inventory_daily WHERE snapshot_date = '{day(3, 4)}'")
    assert [row["is_short"] for row in weeks(con)] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("days", "is_spell"), [(6, False), (7, True)])
def test_an_empty_shelf_that_nobody_asks_for_is_a_spell_after_a_week(
    con: duckdb.DuckDBPyConnection, days: int, *, is_spell: bool
) -> None:
    withdraw(con, day(3, 1), day(3, days))
    con.execute(f"UPDATE fct_inventory_daily SET quantity_on_hand = 0 WHERE snapshot_date = '{day(3)}'")
    con.execute(f"DELETE FROM fct_inventory_daily WHERE snapshot_date = '{day(3, 3)}'")
    assert any(row["is_short"] for row in weeks(con)) == is_spell


def test_a_shop_that_counts_no_stock_has_no_spells(con: duckdb.DuckDBPyConnection) -> None:
    withdraw(con, day(3, 4), day(3, 6))
    rows = weeks(con, stock=False)
    assert len(rows) == 10
    assert not any(row["is_short"] or row["after_stock_out"] for row in rows)


def test_weeks_of_a_product_that_is_no_longer_sold_are_left_out(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"INSERT INTO dim_products VALUES ('p3', 'p', TIMESTAMPTZ '{day(8)}', 12.0, 'tea', false)")
    assert [row["week_start"] for row in weeks(con)] == [day(week) for week in range(8)]


def test_too_few_products_are_no_panel(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(NoAnswer, match="1 products were on sale in 10 whole weeks"):
        usable(product_weeks(con, SELECTS, MONDAY, END))


def asked(**keys: Any) -> ProductQuestion:
    content = {"name": "q", "description": "d", "owner": "team:pricing", "unit": "product_week"} | keys
    return made(ProductQuestion, content)


def test_a_treatment_that_hardly_anybody_had_has_no_answer(con: duckdb.DuckDBPyConnection) -> None:
    rows = product_weeks(con, SELECTS, MONDAY, END)
    with pytest.raises(NoAnswer, match="0 of 10 weeks of a product were out of stock"):
        study_of(asked(treatment={"measure": "stock_out"}), rows)


def test_a_cost_that_is_not_known_is_told(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(f"UPDATE fct_order_items SET margin_amount = NULL WHERE order_date = '{day(2)}'")
    question = asked(treatment={"measure": "list_price"}, outcome={"measure": "margin"})
    with pytest.raises(NoAnswer, match="unit_cost"):
        study_of(question, product_weeks(con, SELECTS, MONDAY, END))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"treatment": {"measure": "weather"}}, "treatment.measure: "),
        ({"treatment": {"measure": "list_price", "depth": 0.2}}, "depth goes with measure: discount"),
        ({"treatment": {"measure": "discount"}, "estimand": "ATT"}, "estimand: "),
        ({"treatment": {"measure": "discount"}, "modifiers": ["age"]}, "modifiers: "),
        ({"treatment": {"measure": "discount"}, "confounders": ["units"]}, "got units"),
    ],
)
def test_what_is_wrong_in_a_file_is_told(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(QuestionError, match=message):
        asked(**keys)


def test_a_posed_question_has_a_panel_of_its_contract(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "FEWEST_WEEKS", 8)
    con.execute("""
        CREATE TABLE many AS SELECT 'p' || n AS product_id, i.* EXCLUDE (product_id)
        FROM fct_order_items i, range(25) AS s(n) WHERE n = 0 OR hash(i.order_date, n) % 3 > 0;
        CREATE TABLE versions AS SELECT product_key || n AS product_key, 'p' || n AS product_id,
            valid_from + n * INTERVAL 1 DAY AS valid_from, list_price, category, is_active
        FROM dim_products, range(25) AS s(n)""")
    marts = SELECTS | {"fct_order_items": "FROM many", "dim_products": "FROM versions"}
    con.register("weeks", product_weeks(con, marts, MONDAY, END))
    posed = pose(Data(con, {}, lambda: con, END, "EUR", "FROM weeks"), asked(treatment={"measure": "list_price"}))
    assert posed.rows.cast(posed.contract.arrow_schema()).num_rows == len(posed.study) > 200
    assert posed.design.kind == "continuous"
    assert posed.as_of == END
    assert posed.rows["outcome"].to_pylist() == posed.rows["units"].to_pylist()


def test_a_question_needs_the_marts_it_reads() -> None:
    assert "fct_inventory_daily" not in asked(treatment={"measure": "discount"}).needs
    assert "fct_inventory_daily" in asked(treatment={"measure": "stock_out"}).needs
    for measure, names in CONFOUNDERS.items():
        assert set(names) <= set(asked(treatment={"measure": measure}).observed)
