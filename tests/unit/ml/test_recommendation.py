"""The recommendation models: what they learn, by example and by property, and what those without history are shown."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ml_assets.core.evaluation.ranking import evaluate, leave_one_out, rank, same_for_all, temporal_split
from ml_assets.core.models.recommendation import item_item, tuning
from ml_assets.core.models.recommendation.factors import Factors
from ml_assets.core.models.recommendation.histories import Histories, popularity, popularity_of_late, repeat_share
from ml_assets.core.models.recommendation.item_item import cosine_neighbours, ease, strongest, transitions
from ml_assets.core.models.recommendation.recommender import (
    NOTHING,
    SOURCES,
    Recommender,
    blend,
    category_affinity,
    popularity_in_category,
    top,
)

SIZE = 8
sequences = st.lists(st.lists(st.integers(0, SIZE - 1), max_size=9), min_size=1, max_size=12)


def shop(users: int = 400, size: int = 60, seed: int = 5) -> Histories:
    """Customers with one taste each, of six shelves of items, who mostly buy a shelf's items in its order.

    One purchase in five is of anything, by a popularity that knows no taste.
    """
    draw = np.random.default_rng(seed)
    shelf = size // 6
    found = []
    for _ in range(users):
        taste, at = draw.integers(6) * shelf, draw.integers(shelf)
        steps = at + np.cumsum(draw.integers(1, 3, draw.integers(4, 9)))
        anything = np.minimum(draw.geometric(0.05, len(steps)) - 1, size - 1)
        found.append(np.where(draw.random(len(steps)) < 0.2, anything, taste + steps % shelf).tolist())
    return Histories.of(found, size)


def recommender(histories: Histories, categories: list[int] | None = None) -> Recommender:
    weights = transitions(histories, half_life=2, backward=0.3, damping=0.5)
    numbers = np.array(categories or [0] * histories.size)
    return Recommender(weights, 2.0, popularity(histories), numbers, np.ones(histories.size, bool))


@given(sequences, st.data())
@settings(max_examples=60)
def test_histories_hold_what_lists_of_lists_would(bought, data):
    histories = Histories.of(bought, SIZE)
    rows = data.draw(st.lists(st.integers(0, len(bought) - 1), max_size=5))
    some = histories.chosen(np.array(rows, np.int64))
    assert [some.items[a:b].tolist() for a, b in zip(some.starts, some.starts[1:], strict=False)] == [
        bought[row] for row in rows
    ]
    even = histories.kept(histories.items % 2 == 0)
    assert [even.items[a:b].tolist() for a, b in zip(even.starts, even.starts[1:], strict=False)] == [
        [item for item in items if item % 2 == 0] for items in bought
    ]
    weighted = histories.matrix(half_life=2.0).toarray()
    for row, items in enumerate(bought):
        expected = np.zeros(SIZE)
        for age, item in enumerate(reversed(items)):
            expected[item] += 0.5 ** (age / 2)
        assert weighted[row] == pytest.approx(expected)
    assert (histories.matrix().toarray() == (weighted > 0)).all()


def test_repeats_are_counted_after_the_first_purchase():
    assert repeat_share(Histories.of([[1, 2, 1, 1], [3], []], 4)) == pytest.approx(2 / 3)
    assert repeat_share(Histories.of([[1], []], 4)) == 0


def test_popularity_of_late_halves_with_the_half_life():
    histories = Histories.of([[0, 1], [1, 2]], 4)
    assert popularity(histories).tolist() == [1, 2, 1, 0]
    assert popularity_of_late(histories, np.array([0, 30, 60, 0]), 30).tolist() == [1, 0.75, 1, 0]


@pytest.mark.parametrize(("changes", "expected"), [(True, {15}), (False, {120, 240})])
def test_a_shop_whose_fashion_changes_forgets_fast_and_one_whose_tastes_stay_does_not(changes, expected):
    """A year of 400 customers, a hundred purchases a day; of a fashion, the items wanted most change each month."""
    draw, days, size = np.random.default_rng(11), 360, 60
    wanted = 0.9 ** np.arange(size)
    customers, bought, when = [], [], []
    for day in range(days + 30):
        chances = np.roll(wanted, 7 * (day // 30) if changes else 0)
        items = draw.choice(size, 100, p=chances / chances.sum())
        customers += draw.choice(400, 100, replace=False).tolist()
        bought += items.tolist()
        when += [day] * 100
    order = np.lexsort((when, customers))
    owners, items, moments = (np.array(column)[order] for column in (customers, bought, when))
    histories = Histories(np.searchsorted(owners, np.arange(401)), items, size)
    split = temporal_split(histories, moments, days)
    found = tuning.best_popularity(split, days - moments[moments < days], exclude_seen=False)
    assert found in expected


@pytest.mark.parametrize("penalty", [20.0, 0.02])
def test_ease_is_the_ridge_regression_of_each_item_on_the_others(penalty):
    """Also where float32 is not enough: the second penalty gives a condition number above 10,000."""
    histories = shop(users=300, size=30)
    found = ease(histories, penalty).toarray()
    purchases = histories.matrix().toarray().astype(float)
    for item in range(30):
        others = np.delete(purchases, item, axis=1)
        ridge = np.linalg.solve(others.T @ others + penalty * np.eye(29), others.T @ purchases[:, item])
        assert found[item, item] == 0
        assert np.delete(found[:, item], item) == pytest.approx(ridge, abs=1e-4)


def test_ease_refuses_a_catalogue_that_takes_too_much_memory():
    with pytest.raises(ValueError, match="at most 15000 items, not 15001: use cosine_neighbours"):
        ease(Histories.of([[0, 1]], 15_001), 10)


def test_the_two_halves_of_a_matrix_in_blocks_are_put_together(monkeypatch):
    histories = shop(users=300, size=30)
    whole = ease(histories, 20.0).toarray()
    monkeypatch.setattr(item_item, "BLOCK", 7)
    assert ease(histories, 20.0).toarray() == pytest.approx(whole)


def test_transitions_count_what_came_after_and_less_what_came_before():
    histories = Histories.of([[0, 1, 2], [1, 0]], 4)
    found = transitions(histories, half_life=1, backward=0.5, damping=0).toarray()
    assert found.tolist() == [[0, 1.5, 0.5, 0], [1.5, 0, 1, 0], [0.25, 0.5, 0, 0], [0, 0, 0, 0]]
    damped = transitions(histories, half_life=1, backward=0.5, damping=1).toarray()
    assert damped == pytest.approx(found / np.array([[2], [2], [1], [1]]))


def test_transitions_reach_no_further_than_the_window(monkeypatch):
    monkeypatch.setattr(item_item, "WINDOW", 1)
    found = transitions(Histories.of([[0, 1, 2]], 3), half_life=1, backward=0, damping=0).toarray()
    assert found.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_cosine_is_the_share_of_common_customers():
    found = cosine_neighbours(Histories.of([[0, 1], [0, 1, 2], [0], [2]], 4)).toarray()
    assert found[0].tolist() == pytest.approx([0, 2 / math.sqrt(6), 1 / math.sqrt(6), 0])
    assert found == pytest.approx(found.T)


@given(st.integers(0, 10_000), st.integers(1, 9))
@settings(max_examples=40)
def test_the_strongest_entries_of_each_row_are_kept(seed, kept):
    from scipy.sparse import csr_array

    matrix = np.random.default_rng(seed).integers(-4, 5, (9, 9)).astype(np.float32)
    found = strongest(matrix, kept).toarray()
    assert (strongest(csr_array(matrix), kept).toarray() == found).all()
    for row, pruned in zip(matrix, found, strict=True):
        assert (pruned[pruned != 0] == row[pruned != 0]).all()
        left = np.abs(row[pruned == 0])
        assert np.count_nonzero(pruned) == min(kept, np.count_nonzero(row))
        assert not left.any() or left.max() <= np.abs(pruned[pruned != 0]).min()


@given(st.permutations(range(SIZE)), sequences)
@example([0, 1, 2, 4, 3, 5, 6, 7], [[0, 1, 2, 5], [0, 1, 2, 5], [1, 2, 3, 5], [0, 1, 3, 4, 5]])  # a weight of 1e-8
@settings(max_examples=40)
def test_other_numbers_for_the_items_give_the_same_answer(numbers, bought):
    number = np.array(numbers)
    renumbered = [[numbers[item] for item in items] for items in bought]
    one, other = Histories.of(bought, SIZE), Histories.of(renumbered, SIZE)

    def scores(histories, categories):
        matrices = [
            transitions(histories, half_life=2, backward=0.5, damping=0.5),
            cosine_neighbours(histories),
            ease(histories, 5.0),
        ]
        model = Recommender(blend(matrices, [1, 0.5, 0.5]), 3.0, popularity(histories), categories, np.ones(SIZE, bool))
        return model.scores(histories)

    categories = np.arange(SIZE) % 3
    moved = np.empty(SIZE, np.int64)
    moved[number] = categories
    assert scores(other, moved)[:, number] == pytest.approx(scores(one, categories), rel=1e-3, abs=1e-4)


def test_the_same_data_give_the_same_bytes():
    histories = shop()
    split = leave_one_out(histories, last=2)

    def made():
        learned = tuning.learn(split.known, 20.0)
        parameters, _ = tuning.tune(learned, split, exclude_seen=False)
        matrix = tuning.weights(learned, parameters)
        return parameters, matrix.data.tobytes(), Factors(split.known, factors=8).scores(split.known).tobytes()

    assert made() == made()


def test_planted_tastes_are_found():
    """Who knows the shelf and its order has four purchases in five; popularity and plain neighbours know less."""
    histories = shop()
    validation, test = leave_one_out(histories, last=2), leave_one_out(histories)
    penalty = tuning.best_penalty(validation, exclude_seen=False)
    parameters, _ = tuning.tune(tuning.learn(validation.known, penalty), validation, exclude_seen=False)
    learned = tuning.learn(test.known, penalty)
    popular = popularity(test.known)
    chosen = tuning.scorer(tuning.weights(learned, parameters), parameters.half_life, popular)

    def score(scorer):
        return evaluate(rank(test, scorer, exclude_seen=False))["ndcg@10"].value

    by_popularity = score(same_for_all(popular))
    by_chosen = score(chosen)
    assert by_chosen >= 2 * by_popularity
    assert by_chosen >= score(tuning.scorer(learned.cosine, math.inf, popular))
    assert by_chosen >= score(Factors(test.known, factors=8).scores)
    assert parameters.ordered > 0.5, "the order tells most"


def test_a_stranger_is_shown_what_is_popular():
    histories = Histories.of([[0, 1], [1, 2], [1]], 4)
    found = recommender(histories).recommend(Histories.of([[]], 4), 10, exclude_seen=True)
    assert found.items.tolist() == [[1, 0, 2, 3]]
    assert [SOURCES[source] for source in found.sources[0]] == ["popularity"] * 4
    assert (found.because == NOTHING).all()


def test_what_leads_nowhere_falls_back_to_its_category_and_a_new_product_has_its_place():
    """Item 4 is in category 1 and was never bought, item 5 is new in category 0."""
    histories = Histories.of([[0, 1], [0, 1], [0], [2], [3], [3]], 6)
    found = recommender(histories, [0, 0, 1, 1, 1, 0]).recommend(Histories.of([[2] * 6], 6), 6, exclude_seen=True)
    assert found.items[0].tolist() == [3, 4, 0, 1, 5, NOTHING]
    assert [SOURCES[source] for source in found.sources[0, :5]] == ["category"] * 2 + ["popularity"] * 3


def test_a_recommendation_names_the_purchase_that_led_to_it():
    histories = Histories.of([[0, 1], [0, 1], [2, 3], [2, 3], [2, 3]], 5)
    found = recommender(histories).recommend(Histories.of([[2, 0], [0], []], 5), 2, exclude_seen=True)
    assert found.items[0].tolist() == [1, 3]
    assert found.because.tolist() == [[0, 2], [0, NOTHING], [NOTHING, NOTHING]]


def test_what_was_bought_is_shown_again_only_where_that_makes_sense():
    histories = Histories.of([[0, 1, 0, 1, 0, 1]], 3)
    basket = Histories.of([[0]], 3)
    assert recommender(histories).recommend(basket, 3, exclude_seen=True).items.tolist() == [[1, 2, NOTHING]]
    assert recommender(histories).recommend(basket, 3, exclude_seen=False).items.tolist() == [[1, 0, 2]]


def test_what_is_not_on_sale_is_not_recommended():
    histories = Histories.of([[0, 1], [0, 1], [0, 2]], 4)
    model = recommender(histories)._replace(offered=np.array([True, False, True, True]))
    assert model.recommend(Histories.of([[0], []], 4), 4, exclude_seen=True).items.tolist() == [
        [2, 3, NOTHING, NOTHING],
        [0, 2, 3, NOTHING],
    ]


def test_similar_items_are_those_bought_along_and_never_the_item_itself():
    histories = Histories.of([[0, 1], [0, 1], [2, 3]], 4)
    found = recommender(histories).similar(2)
    assert found.items[:, 0].tolist() == [1, 0, 3, 2]
    assert (found.items != np.arange(4)[:, None]).all()


def test_affinities_are_drawn_to_everybodys_shares():
    popular = np.array([20, 0, 1], np.float32)
    affinity = category_affinity(Histories.of([[0] * 20, [2], []], 3), np.array([0, 0, 1]), popular)
    assert affinity.sum(axis=1) == pytest.approx([1, 1, 1])
    assert affinity[0, 0] > affinity[2, 0] > affinity[1, 0]
    assert affinity[2].tolist() == pytest.approx([21 / 23, 2 / 23])


@given(sequences)
@settings(max_examples=60)
def test_what_somebody_is_shown_does_not_depend_on_who_is_asked_about_with_them(bought):
    model = recommender(Histories.of([[0, 1, 2], [3, 1], [5, 6, 5]], SIZE), [0, 0, 1, 1, 2, 2, 3, 3])
    together = model.recommend(Histories.of(bought, SIZE), 5, exclude_seen=False)
    for row, one in enumerate(bought):
        alone = model.recommend(Histories.of([one], SIZE), 5, exclude_seen=False)
        assert [column[0].tolist() for column in alone] == [column[row].tolist() for column in together]


def test_a_product_without_history_has_a_small_share_of_its_category():
    shares = popularity_in_category(np.array([10, 0, 0], np.float32), np.array([0, 0, 1]))
    assert shares.tolist() == pytest.approx([12.5 / 15, 2.5 / 15, 1])


@given(st.integers(0, 10_000), st.integers(0, 12))
@settings(max_examples=60)
def test_the_top_is_in_order_and_of_equals_the_first_is_first(seed, count):
    scores = np.random.default_rng(seed).integers(-2, 4, (5, 9)).astype(np.float32)
    scores[scores == -2] = -np.inf
    assert (top(scores, count) == np.argsort(-scores, axis=1, kind="stable")[:, :count]).all()


def test_a_large_catalogue_is_served_without_ease():
    size = item_item.EASE_ITEMS + 1
    histories = Histories.of([[0, size - 1], [0, size - 1], [1, 2]], size)
    split = leave_one_out(histories)
    assert tuning.best_penalty(split, exclude_seen=True) is None
    learned = tuning.learn(histories, None)
    assert learned.ease is None
    parameters = tuning.Parameters(2, 2, 0.5, 0.5, ordered=0.5, cosine=0.5, ease=0)
    weights = tuning.weights(learned, parameters)
    model = Recommender(weights, 2.0, popularity(histories), np.zeros(size, np.int64), np.ones(size, bool))
    assert model.recommend(Histories.of([[0]], size), 1, exclude_seen=True).items.tolist() == [[size - 1]]
