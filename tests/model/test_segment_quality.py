"""Segments of customers whose ways of buying are planted: they are found, keep their numbers, and tell something."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ml_assets.core.evaluation.promotion import STALE_DAYS, NotComparable
from ml_assets.core.evaluation.promotion import judge as gate
from ml_assets.core.models import segments
from ml_assets.core.models.contests import segments_contest
from ml_assets.core.models.customer_segments import CONTRACT, customer_segments
from ml_assets.core.models.errors import NotEnoughData, TooYoung
from ml_assets.core.models.segments import SegmentModel, Trained
from ml_assets.core.registry import NoModel, Registered
from ml_assets.defs.training.customer_segments import judge

EARLY, HOLDOUT, TODAY = date(2025, 3, 1), date(2025, 4, 1), date(2025, 7, 1)
END = date(2025, 7, 2)
TYPES = {  # shares of orders on mobile and with coupons, visits for an order, units of a product, euros for a unit
    "desk": (0.1, 0.05, 1.0, 1.5, 12.0),
    "phone": (0.9, 0.10, 3.0, 1.3, 10.0),
    "saver": (0.4, 0.70, 4.0, 1.5, 6.0),
    "bulk": (0.2, 0.05, 0.5, 12.0, 5.0),
}
CUSTOMERS = 1200


def features_of(seed: int, as_of: date, kinds: np.ndarray) -> pa.Table:
    """What customers of these kinds have done before `as_of`, as a table of features."""
    draw = np.random.default_rng(seed)
    mobile, coupons, visits, units, price = np.array(list(TYPES.values()))[kinds].T
    orders = 1 + draw.negative_binomial(3, 0.2, len(kinds))
    days = 1 + draw.poisson(orders * visits)
    recent = draw.binomial(orders, 0.4)
    lines = 1 + draw.poisson(2.0, len(kinds))
    quantity = lines * units * draw.lognormal(0, 0.15, len(kinds))
    return pa.table(
        {
            "customer_id": np.char.add("C", np.char.zfill(np.arange(len(kinds)).astype(str), 5)),
            "as_of_date": pa.array([as_of] * len(kinds)),
            "orders_count": orders,
            "order_days_count": orders,
            "recency_days": 1 + draw.integers(0, 200, len(kinds)),
            "spend_amount": orders * quantity * price,
            "orders_90d": recent,
            "sessions_90d": draw.poisson(recent * visits),
            "mobile_order_share": draw.binomial(orders, mobile) / orders,
            "mobile_visit_share": draw.binomial(days, mobile) / days,
            "coupon_share": draw.binomial(orders, coupons) / orders,
            "mean_order_amount": quantity * price * draw.lognormal(0, 0.2, len(kinds)),
            "mean_order_lines": lines.astype(float),
            "mean_order_quantity": quantity,
            "top_category_share": draw.uniform(0.3, 1, len(kinds)),
            "tenure_days": np.full(len(kinds), 400),
            "loyalty_rank": np.zeros(len(kinds)),
            "email_opt_in": np.ones(len(kinds)),
        }
    )


def orders_of(seed: int, kinds: np.ndarray) -> pa.Table:
    """Three orders of each customer in the days after the holdout date."""
    draw = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(kinds)), 3)
    mobile, coupons, _, units, price = np.array(list(TYPES.values()))[kinds[owner]].T
    return pa.table(
        {
            "order_id": np.arange(len(owner)).astype(str),
            "customer_id": np.char.add("C", np.char.zfill(owner.astype(str), 5)),
            "ordered_at": pa.array([datetime(2025, 5, 1, tzinfo=UTC)] * len(owner)),
            "total_amount": pa.array(units * price * draw.lognormal(0, 0.5, len(owner))),
            "coupon_code": pa.array(np.where(draw.random(len(owner)) < coupons, "SAVE", None)),
            "device": np.where(draw.random(len(owner)) < mobile, "mobile", "desktop"),
            "line_count": 1 + draw.poisson(2.0, len(owner)),
            "is_cancelled": np.zeros(len(owner), bool),
        }
    )


@pytest.fixture(scope="module")
def kinds() -> np.ndarray:
    return np.random.default_rng(1).choice(len(TYPES), CUSTOMERS, p=[0.4, 0.25, 0.2, 0.15])


@pytest.fixture(scope="module")
def tables(con, kinds) -> tuple[str, str]:
    dates = {EARLY: 2, HOLDOUT: 3, TODAY: 4}
    con.register("types_features", pa.concat_tables(features_of(seed, day, kinds) for day, seed in dates.items()))
    con.register("types_orders", orders_of(5, kinds))
    return "FROM types_features", "FROM types_orders"


def train(con, features: str, orders: str, earlier: SegmentModel | None = None) -> Trained:
    return segments.train(con, features, orders, [EARLY, HOLDOUT, TODAY], data_end=END, earlier=earlier)


@pytest.fixture(scope="module")
def trained(con, tables) -> Trained:
    return train(con, *tables)


def outcomes(trained: Trained) -> dict[str, bool]:
    return {check.check_name: check.passed for check in judge(trained)}


def test_planted_ways_of_buying_are_found_again(con, tables, trained, kinds):
    from sklearn.metrics import adjusted_rand_score

    rows = segments.experienced(con, tables[0], TODAY)
    known = np.array([int(customer[1:]) for customer in rows["customer_id"].to_pylist()])
    assert len(trained.model.segments) == len(TYPES)
    assert adjusted_rand_score(kinds[known], trained.model.nearest(rows)) >= 0.8


def test_they_pass_their_checks_and_tell_what_recency_frequency_and_money_do_not(trained):
    assert outcomes(trained) == {"has_enough_data": True, "segments_differ": True, "is_stable": True}
    assert min(trained.gains["coupons"], trained.gains["mobile"]) > 0.2
    assert trained.gains["lines"] < 0.02, "the number of lines is the same in all of them"


def test_names_are_plain_and_each_is_there_once(trained):
    names = [segment.name for segment in trained.model.segments]
    assert len(set(names)) == len(names)
    assert any("coupons" in name for name in names)
    assert any("many of each" in name for name in names)


def test_a_second_training_gives_the_same_bytes_also_after_the_first(con, tables, trained):
    assert train(con, *tables).model.to_bytes() == trained.model.to_bytes()
    assert train(con, *tables, trained.model).model.to_bytes() == trained.model.to_bytes()


def numbers_by_kind(model: SegmentModel, rows: pa.Table, kinds: np.ndarray) -> dict[int, int]:
    found = np.array([segment.number for segment in model.segments])[model.nearest(rows)]
    known = kinds[[int(customer[1:]) for customer in rows["customer_id"].to_pylist()]]
    return {kind: int(np.bincount(found[known == kind]).argmax()) for kind in set(known.tolist())}


def test_a_segment_keeps_its_number_when_customers_change_and_a_new_one_gets_a_new_number(con, tables, trained, kinds):
    rows = segments.experienced(con, tables[0], TODAY)
    before = numbers_by_kind(trained.model, rows, kinds)

    others = np.random.default_rng(8).choice(len(TYPES), CUSTOMERS, p=[0.1, 0.2, 0.3, 0.4])
    con.register("others", features_of(9, TODAY, others))
    changed = segments.experienced(con, "FROM others", TODAY)
    later, _ = segments.fit(changed, TODAY, trained.model)
    assert numbers_by_kind(later, changed, others) == before, "though the largest is another one now"

    few = trained.model.model_copy(update={"segments": trained.model.segments[:-1]})
    grown, _ = segments.fit(rows, TODAY, few)
    lost = trained.model.segments[-1].number
    assert {segment.number for segment in grown.segments} == {one.number for one in few.segments} | {len(TYPES) + 1}
    assert lost not in {segment.number for segment in grown.segments}, "a number is never given a second time"


def test_segments_that_tell_nothing_fail_their_check(con, tables):
    features, orders = tables
    con.execute(
        f"""
        CREATE OR REPLACE TABLE strangers AS SELECT * REPLACE (
            coalesce(lead(customer_id) OVER shuffled, first_value(customer_id) OVER shuffled) AS customer_id)
        FROM ({features}) WINDOW shuffled AS (PARTITION BY as_of_date ORDER BY hash(customer_id))"""
    )
    found = train(con, "FROM strangers", orders)
    assert not outcomes(found)["segments_differ"]


def test_segments_of_customers_who_are_all_alike_are_not_stable(con):
    con.register("alike", features_of(11, TODAY, np.zeros(CUSTOMERS, np.int64)))
    rows = segments.experienced(con, "FROM alike", TODAY)
    model, _ = segments.fit(rows, TODAY, None)
    assert segments.stability(rows, model) < 0.9


def test_a_young_shop_and_one_with_few_orders_are_told_why(con, tables):
    features, orders = tables
    with pytest.raises(TooYoung, match="90 days of orders after it"):
        segments.train(con, features, orders, [TODAY], data_end=END, earlier=None)
    few = f"SELECT * FROM ({features}) WHERE customer_id < 'C00100'"
    with pytest.raises(NotEnoughData, match="200 customers with 5 orders or more: before 2025-04-01 there are"):
        train(con, few, orders)


def test_customers_of_two_kinds_only_have_no_three_segments():
    rows = features_of(1, TODAY, np.array([0, 2] * 150))
    first = rows.slice(0, 2).set_column(rows.column_names.index("orders_count"), "orders_count", pa.array([9, 9]))
    copies = pa.concat_tables([first] * 150)
    with pytest.raises(NotEnoughData, match="of 300, nearly all behave the same"):
        segments.fit(copies, TODAY, None)


def test_a_shop_that_records_little_is_told_what_is_missing(con, tables):
    features, orders = tables
    poor = f"""SELECT customer_id, as_of_date, orders_count, order_days_count, recency_days, spend_amount, coupon_share
        FROM ({features})"""
    with pytest.raises(NotEnoughData, match=r"these differ in coupons. Load devices"):
        train(con, poor, orders)


def test_everyone_who_has_ordered_has_a_segment(con, tables, trained):
    features, _ = tables
    model = Registered(segments.NAME, "4", trained.model.to_bytes(), trained.card)
    found = customer_segments(con, features, model, TODAY)
    assert found.schema == CONTRACT.arrow_schema()
    assert len(found) == CUSTOMERS
    known = {segment.number: segment.name for segment in trained.model.segments}
    pairs = set(zip(found["segment_number"].to_pylist(), found["behaviour_segment"].to_pylist(), strict=True))
    assert pairs == set(known.items())
    assert pc.all(pc.equal(found["segments_model_version"], "4")).as_py()
    with pytest.raises(NoModel, match="takes mobile_order_share"):
        customer_segments(con, f"SELECT * EXCLUDE (mobile_order_share) FROM ({features})", model, TODAY)


def registered(model: SegmentModel) -> Registered:
    return Registered(segments.NAME, "1", model.to_bytes(), {})


def test_segments_meet_on_how_customers_ordered_after_both_were_made(con, tables, trained):
    contest = segments_contest(con, *tables, trained, registered(trained.tested))
    assert contest.window == (HOLDOUT, date(2025, 6, 30))
    assert np.array_equal(contest.champion, contest.challenger)
    assert contest.further["agreement"] > 0.8, "hardly a customer moves"
    assert gate(contest).outcome == "promoted", "it is as good, and its champion is 91 days old"
    assert gate(contest._replace(newer_days=STALE_DAYS - 1)).outcome == "kept"
    with pytest.raises(NotComparable, match="was made of what was known on 2025-07-01"):
        segments_contest(con, *tables, trained, registered(trained.model))


def test_worse_segments_are_refused_and_others_that_are_as_good_do_not_move_customers(con, tables, trained):
    """Worse ones have the centres of the planted four drawn together, so that they tell nobody apart."""
    champion = registered(trained.tested)
    together = [
        one.model_copy(update={"centre": (9.0 + n,) * len(one.centre)}) for n, one in enumerate(trained.tested.segments)
    ]
    worse = trained.tested.model_copy(update={"segments": tuple(together)})
    found = gate(segments_contest(con, *tables, trained._replace(tested=worse, model=worse), champion))
    assert found.outcome == "refused"
    assert found.evidence["agreement"] < 0.2
    moved = segments_contest(con, *tables, trained._replace(model=worse), champion)
    assert moved.margin == 0
    assert gate(moved).outcome == "kept", "without a margin, as good is not enough"


CENTRES = """
import hashlib, pyarrow as pa
from datetime import date
import numpy as np
from ml_assets.core.models import segments
draw = np.random.default_rng(0)
kind = draw.integers(0, 3, 6000)
rows = pa.table({
    "customer_id": [f"C{number:05d}" for number in range(6000)],
    "orders_count": draw.integers(5, 40, 6000).astype(float),
    "mobile_order_share": np.clip(0.2 + 0.3 * kind + draw.normal(0, 0.1, 6000), 0, 1),
    "coupon_share": np.clip(0.5 - 0.2 * kind + draw.normal(0, 0.1, 6000), 0, 1),
    "top_category_share": np.clip(draw.normal(0.5, 0.1, 6000), 0, 1),
})
print(hashlib.sha256(segments.fit(rows, date(2025, 1, 1), None)[0].to_bytes()).hexdigest())
"""


def test_the_centres_are_the_same_to_the_byte_on_any_number_of_threads():
    """With four threads KMeans added up its parts as they ended: each run had other last digits."""
    made = {
        subprocess.run(
            [sys.executable, "-c", CENTRES],
            env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            check=True, capture_output=True, text=True,
        ).stdout
        for threads in ("1", "2", "4")
    }  # fmt: skip
    assert len(made) == 1


def test_a_model_that_finds_itself_as_the_earlier_one_is_the_same(trained):
    found = segments.earlier_of(trained.model.to_bytes().decode())
    assert found == trained.model
    assert segments.earlier_of(segments.NO_EARLIER) is None
