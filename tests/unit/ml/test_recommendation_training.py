"""The recommender of a shop's marts: what is read of them, the splits by time, its bytes, and the tables."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from cartograph.contracts import Contract
from ml_assets.core.evaluation.promotion import NotComparable
from ml_assets.core.evaluation.promotion import judge as gate
from ml_assets.core.models.contests import recommender_contest
from ml_assets.core.models.errors import NotEnoughData, TooYoung
from ml_assets.core.models.recommendation.histories import Histories
from ml_assets.core.models.recommendation.lists import (
    RECOMMENDATIONS,
    SIMILAR_PRODUCTS,
    opened,
    product_recommendations,
    similar_products,
)
from ml_assets.core.models.recommendation.product_recommender import NAME, ProductRecommender
from ml_assets.core.models.recommendation.purchases import Purchases, catalogue, purchases
from ml_assets.core.models.recommendation.training import SHORTEST_HISTORY_DAYS, Trained, train
from ml_assets.core.registry import NoModel, Registered
from ml_assets.defs.training.product_recommender import judge, measures, parameters

AS_OF = date(2024, 9, 1)
DAYS = 244
START = datetime(2024, 1, 1, tzinfo=UTC)


def line(customer: str | None, product: int, day: float, order: str, *, cancelled: bool = False):
    return {"customer_id": customer, "product_id": f"P{product:02}", "ordered_at": START + timedelta(days=day),
            "order_id": order, "line_number": 1, "is_cancelled": cancelled}  # fmt: skip


def products(size: int) -> pa.Table:
    """Four shelves; the last product is not on sale, the one before it was never bought."""
    rows = [
        {"product_id": f"P{n:02}", "category": f"shelf {n % 4}", "is_current": True, "is_active": n != size - 1}
        for n in range(size)
    ]
    return pa.Table.from_pylist([*rows, {**rows[0], "category": "an earlier version", "is_current": False}])


def tastes(customers: int = 260, size: int = 40, seed: int = 3) -> list[dict]:
    """Baskets of three from the customer's shelf (four lines in five), or of anything, every ten days or so."""
    draw = np.random.default_rng(seed)
    found = []
    for customer in range(customers):
        day = draw.uniform(0, 10)
        while day < DAYS:
            for product in range(3):
                chosen = 4 * draw.integers(size // 4 - 1) + customer % 4
                chosen = chosen if draw.random() < 0.8 else draw.integers(size - 2)
                found.append(line(f"C{customer:03}", int(chosen), day, f"O{customer}-{day:.3f}-{product // 3}"))
            day += draw.exponential(10)
    return found


@pytest.fixture(scope="module")
def con():
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


class Shop(NamedTuple):
    data: Purchases
    trained: Trained
    selects: dict[str, str]

    @property
    def version(self) -> Registered:
        return Registered(NAME, "3", self.trained.recommender.to_bytes(), self.trained.card)


@pytest.fixture(scope="module")
def shop(con) -> Shop:
    """260 customers with tastes, and two who have bought nothing."""
    con.register("order_items", pa.Table.from_pylist(tastes()))
    con.register("products", products(40))
    ids = [*(f"C{customer:03}" for customer in range(260)), "B", "D"]
    con.register("features", pa.table({"customer_id": ids, "as_of_date": pa.array([AS_OF] * len(ids))}))
    con.register("rules", pa.table({
        "antecedent_product_id": ["P00", "P00", "P00"],
        "consequent_product_id": ["P04", "P08", "P39"],
        "orders_count": [8, 9, 9],
        "antecedent_orders_count": [64, 64, 64],
        "consequent_orders_count": [25, 100, 9],
    }))  # fmt: skip
    names = {"customer_features": "features", "fct_order_items": "order_items", "dim_products": "products"}
    selects = {name: f"FROM {table}" for name, table in {**names, "market_basket_rules": "rules"}.items()}
    data = purchases(con, "FROM order_items", catalogue(con, "FROM products"), AS_OF)
    return Shop(data, train(data, AS_OF), selects)


def test_purchases_are_those_that_stand_before_the_as_of_date(con):
    rows = [
        line("B", 2, 5, "O3"),
        line("B", 1, 5, "O3"),
        line("B", 1, 5, "O3"),
        line("B", 1, 2, "O2"),
        line("A", 0, 1, "O1", cancelled=True),
        line("A", 3, DAYS - 1e-6, "O4"),
        line("A", 2, DAYS, "O5"),
        line("B", 77, 3, "of a product that is not in the catalogue"),
        line(None, 0, 1, "O6"),
    ]
    con.register("few", pa.Table.from_pylist(rows))
    con.register("small", products(5))
    data = purchases(con, "FROM few", catalogue(con, "FROM small"), AS_OF)
    assert (data.customers, data.catalogue.products) == (("A", "B"), ("P00", "P01", "P02", "P03", "P04"))
    assert (data.histories.starts.tolist(), data.histories.items.tolist()) == ([0, 1, 4], [3, 1, 1, 2])
    assert data.catalogue.category_numbers.tolist() == [0, 1, 2, 3, 0]
    assert data.catalogue.offered.tolist() == [True, True, True, True, False]
    assert data.moments[1] == np.datetime64("2024-01-03")


def test_planted_tastes_are_found_on_the_days_that_were_not_known(shop):
    trained = shop.trained
    chosen, popular = trained.scores["chosen"], trained.scores["popularity"]
    assert chosen["ndcg@10"].value >= 2 * popular["ndcg@10"].value
    assert chosen["recall@20"].low > popular["recall@20"].high
    assert chosen["ndcg@10"].value >= 0.98 * trained.scores["cosine_knn"]["ndcg@10"].value
    assert chosen["ndcg@10"].value >= 0.98 * trained.scores["als"]["ndcg@10"].value
    assert not trained.recommender.exclude_seen, "baskets repeat"
    assert trained.coverage > 0.5
    assert trained.customers > 100


def test_the_checks_hold_the_figures_against_popularity_and_other_methods(shop):
    trained = shop.trained
    popular = trained.scores["popularity"]
    worse = trained._replace(scores={**trained.scores, "chosen": popular, "als": trained.scores["chosen"]})
    found = {check.check_name: check for check in judge(worse)}
    assert [name for name, check in found.items() if not check.passed] == ["beats_popularity", "beats_knn_and_als"]
    assert found["beats_popularity"].description.startswith("1.00 times its NDCG@10, 1.00 times its recall@20")


@pytest.mark.parametrize(
    ("ndcg", "recall", "passed", "severity"),
    [(2.1, 2.1, True, "WARN"), (2.1, 1.5, False, "WARN"), (1.5, 2.1, False, "WARN"), (2.1, 1.0, False, "ERROR")],
)
def test_popularity_is_beaten_in_what_is_found_and_in_how_it_is_ranked(shop, ndcg, recall, passed, severity):
    popular = shop.trained.scores["popularity"]
    times = {"ndcg@10": ndcg, "recall@20": recall}
    chosen = popular | {
        name: popular[name]._replace(value=popular[name].value * ratio) for name, ratio in times.items()
    }
    checks = judge(shop.trained._replace(scores={**shop.trained.scores, "chosen": chosen}))
    (found,) = [check for check in checks if check.check_name == "beats_popularity"]
    assert (found.passed, found.severity.value) == (passed, severity)


def test_what_is_tracked_are_names_that_mlflow_takes_with_the_budget_and_cold_start(shop):
    figures = measures(shop.trained)
    assert all(re.fullmatch(r"[\w./ -]+", name) for name in figures)
    assert figures.keys() >= {"ndcg_at_10", "baseline.als.ndcg_at_10", "coverage", "novelty", "newcomers"}
    assert parameters(shop.trained).keys() >= {"half_life", "ease", "ease_penalty", "trials", "exclude_seen"}


def test_newcomers_are_scored_apart(con):
    late = [line(f"N{n}", 4 * (n % 9), DAYS - 5, f"N{n}") for n in range(30)]
    con.register("with_newcomers", pa.Table.from_pylist([*tastes(), *late]))
    trained = train(purchases(con, "FROM with_newcomers", catalogue(con, "FROM products"), AS_OF), AS_OF)
    assert trained.newcomers == 30
    assert trained.cold_start.keys() == {"chosen", "popularity"}
    assert trained.metrics["newcomers.chosen.ndcg@10"] == trained.cold_start["chosen"] > 0


def test_a_second_training_gives_the_same_bytes(shop):
    assert train(shop.data, AS_OF).recommender.to_bytes() == shop.version.content


def test_what_was_written_is_read_again_and_knows_no_customer(shop):
    content, model = shop.version.content, shop.trained.recommender
    again = ProductRecommender.from_bytes(content)
    assert again.to_bytes() == content
    assert b"C001" not in content
    assert (again.as_of, again.exclude_seen, again.catalogue.products) == (AS_OF, False, model.catalogue.products)
    scores = again.recommender.scores(shop.data.histories)
    assert (scores == model.recommender.scores(shop.data.histories)).all()


@pytest.mark.parametrize("content", [b"", b"no Arrow", b"ARROW1"])
def test_what_is_no_recommender_is_told_with_its_cure(shop, content):
    with pytest.raises(NoModel, match="Train it again: materialize models/product_recommender"):
        opened(shop.version._replace(content=content))


def test_a_file_that_does_not_hold_together_is_refused(shop):
    rows = pa.ipc.open_file(shop.version.content).read_all()
    for broken, why in (
        (rows.slice(0, 20), "leads to one that is not there"),
        (rows.take(list(reversed(range(40)))), "not sorted"),
        (rows.replace_schema_metadata(None), "it has the settings"),
        (rows.drop_columns("weight"), "not the file of a recommender"),
    ):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, broken.schema) as writer:
            writer.write_table(broken.combine_chunks())
        with pytest.raises(ValueError, match=why):
            ProductRecommender.from_bytes(sink.getvalue().to_pybytes())


def test_on_the_catalogue_of_another_day_new_products_have_a_place_and_lost_ones_none(con, shop):
    model = shop.trained.recommender
    assert model.on(model.catalogue).to_bytes() == model.to_bytes()
    rows = [row for row in products(40).to_pylist() if row["product_id"] != "P04"]
    new = {"product_id": "A", "category": "shelf 0", "is_current": True, "is_active": True}
    con.register("another_day", pa.Table.from_pylist([*rows, new]))
    today = model.on(catalogue(con, "FROM another_day"))
    assert today.catalogue.products[:6] == ("A", "P00", "P01", "P02", "P03", "P05")
    before, after = model.session(["P00", "P08"], 40), today.session(["P00", "P08"], 40)
    kept = [(one.product_id, one.score) for one in before if one.source == "history" and one.product_id != "P04"]
    assert [(one.product_id, one.score) for one in after if one.source == "history"] == kept
    assert "A" in {one.product_id for one in after}
    assert today.session(["gone", "P00"], 5) == today.session(["P00"], 5)


def test_everybody_has_twenty_products_that_are_on_sale(con, shop):
    table = product_recommendations(con, shop.selects, shop.version, AS_OF)
    assert table.schema == RECOMMENDATIONS.arrow_schema()
    rows = table.to_pylist()
    assert len(rows) == 20 * 262
    assert is_unique(table, RECOMMENDATIONS)
    assert {row["rank"] for row in rows} == set(range(1, 21))
    assert "P39" not in {row["product_id"] for row in rows}
    first = [row for row in rows if row["rank"] <= 5 and row["customer_id"] not in "BD"]
    own = [int(row["product_id"][1:]) % 4 == int(row["customer_id"][1:]) % 4 for row in first]
    assert np.mean(own) > 0.9, "nearly all are from the customer's shelf"
    assert all(row["because_product_id"] for row in first if row["source"] == "history")
    strangers = [[row["product_id"] for row in rows if row["customer_id"] == name] for name in "BD"]
    assert strangers[0] == strangers[1]
    assert len(strangers[0]) == 20


def test_a_customers_list_is_what_the_recommender_gives_for_their_purchases(con, shop):
    table = product_recommendations(con, shop.selects, shop.version, AS_OF)
    at = shop.data.customers.index("C007")
    model = shop.trained.recommender
    found = model.recommender.recommend(shop.data.histories.chosen(np.array([at])), 20, exclude_seen=False)
    rows = [row for row in table.to_pylist() if row["customer_id"] == "C007"]
    listed = [(row["product_id"], row["score"], row["source"], row["because_product_id"]) for row in rows]
    assert listed == model.suggestions(found, 0)


def test_who_has_had_all_is_shown_it_again(con, shop):
    """In a shop where purchases are not repeated."""
    everything = [line("C000", product, 1, f"all {product}") for product in range(40)]
    con.register("insatiable", pa.Table.from_pylist(everything))
    once = shop.trained.recommender._replace(exclude_seen=True)
    version = shop.version._replace(content=once.to_bytes())
    selects = shop.selects | {"fct_order_items": "FROM insatiable"}
    rows = product_recommendations(con, selects, version, AS_OF).to_pylist()
    assert len(rows) == 20 * 262
    assert len({row["product_id"] for row in rows if row["customer_id"] == "C000"}) == 20


def test_similar_products_stand_on_the_same_shelf(con, shop):
    table = similar_products(con, shop.selects, shop.version, AS_OF)
    assert table.schema == SIMILAR_PRODUCTS.arrow_schema()
    assert is_unique(table, SIMILAR_PRODUCTS)
    rows = [row for row in table.to_pylist() if row["relation"] == "similar" and row["rank"] <= 3]
    bought = [row for row in rows if row["product_id"] < "P36"]
    same = [int(row["product_id"][1:]) % 4 == int(row["similar_product_id"][1:]) % 4 for row in bought]
    assert np.mean(same) > 0.9
    new = [row for row in rows if row["product_id"] == "P38"]
    assert [row["source"] for row in new] == ["category"] * 3
    assert all(int(row["similar_product_id"][1:]) % 4 == 2 for row in new)


def test_bought_together_is_by_the_cosine_of_the_orders_and_on_sale(con, shop):
    rows = similar_products(con, shop.selects, shop.version, AS_OF).to_pylist()
    together = [row for row in rows if row["relation"] == "bought_together"]
    assert [(row["rank"], row["similar_product_id"], row["score"]) for row in together] == [
        (1, "P04", 0.2),
        (2, "P08", 0.1125),
    ]


def test_without_a_model_there_are_no_lists(con, shop):
    assert len(product_recommendations(con, shop.selects, None, AS_OF)) == 0
    assert len(similar_products(con, shop.selects, None, AS_OF)) == 0


def test_a_shop_without_enough_customers_is_refused_with_its_cure(con):
    con.register("few_customers", pa.Table.from_pylist(tastes(customers=30)))
    data = purchases(con, "FROM few_customers", catalogue(con, "FROM products"), AS_OF)
    message = r"200 customers who bought before 2024-08-02 .* Load more days or customers"
    with pytest.raises(TooYoung, match=message):
        train(data, AS_OF)
    longer = data._replace(moments=data.moments - np.timedelta64(365, "D") * (np.arange(len(data.moments)) % 30 == 0))
    with pytest.raises(NotEnoughData, match=message) as refused:
        train(longer, AS_OF)
    assert not isinstance(refused.value, TooYoung), "time does not mend it"


def test_a_young_shop_is_told_how_many_days_it_needs(shop):
    early = shop.data.moments >= np.datetime64("2024-04-01")
    young = shop.data._replace(histories=shop.data.histories.kept(early), moments=shop.data.moments[early])
    with pytest.raises(TooYoung, match=f"need {SHORTEST_HISTORY_DAYS} days .* before 2024-08-02 there are 12"):
        train(young, AS_OF)
    nobody = shop.data._replace(histories=Histories.of([], 40), moments=shop.data.moments[:0])
    with pytest.raises(TooYoung, match="there are 0"):
        train(nobody, AS_OF)


def is_unique(table: pa.Table, contract: Contract) -> bool:
    return len(table.group_by(list(contract.key)).aggregate([])) == len(table)


def test_recommenders_meet_on_purchases_that_neither_has_seen_and_a_worse_one_is_refused(shop):
    """The champion is the one of the days before the test window; a worse challenger has its products mixed up."""
    trained = shop.trained
    champion = Registered(NAME, "1", trained.tested.to_bytes(), trained.card)
    contest = recommender_contest(shop.data, trained, champion)
    assert contest.window == (AS_OF - timedelta(days=30), AS_OF)
    assert contest.challenger.mean() == pytest.approx(1 - trained.metrics["ndcg@10"])
    assert np.array_equal(contest.champion, contest.challenger)
    assert gate(contest).outcome == "kept", "as good is not better"
    with pytest.raises(NotComparable, match="since then there is 0 days of them, and 28 are needed"):
        recommender_contest(shop.data, trained, shop.version)

    mixed = np.random.default_rng(1).permutation(40)
    model = trained.tested.recommender
    worse = model._replace(weights=model.weights[mixed][:, mixed[::-1]], popular=model.popular[mixed])
    found = gate(
        recommender_contest(shop.data, trained._replace(tested=trained.tested._replace(recommender=worse)), champion)
    )
    assert found.outcome == "refused"
    assert found.evidence["challenger_loss"] > found.evidence["champion_loss"]
