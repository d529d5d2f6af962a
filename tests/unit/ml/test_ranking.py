"""Scores of rankings, held against rankings written down by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_assets.core.evaluation.ranking import (
    CUTOFFS,
    Split,
    coverage,
    evaluate,
    leave_one_out,
    novelty,
    rank,
    temporal_split,
)
from ml_assets.core.models.recommendation.histories import Histories


def lists(histories: Histories) -> list[list[int]]:
    return [part.tolist() for part in np.split(histories.items, histories.starts[1:-1])]


def constant(*scores: float):
    return lambda some: np.broadcast_to(np.array(scores, np.float32), (some.rows, some.size))


def test_leave_one_out_keeps_the_test_from_the_tuning():
    histories = Histories.of([[3, 1, 2], [0, 1], [2]], 4)
    test = leave_one_out(histories)
    assert (lists(test.known), lists(test.targets)) == ([[3, 1], [0], []], [[2], [1], [2]])
    tuning = leave_one_out(histories, last=2)
    assert (lists(tuning.known), lists(tuning.targets)) == ([[3], [], []], [[1], [0], []])


def test_a_temporal_split_cuts_everybody_at_the_same_time():
    histories = Histories.of([[3, 1, 2], [0, 1]], 4)
    split = temporal_split(histories, np.array([1, 5, 6, 2, 4]), 5)
    assert (lists(split.known), lists(split.targets)) == ([[3], [0, 1]], [[1, 2], []])


def test_every_candidate_is_ranked_and_what_was_seen_is_none():
    split = Split(Histories.of([[0], [1]], 4), Histories.of([[3], [1, 2]], 4))
    ranks = rank(split, constant(4, 3, 2, 1), exclude_seen=True).ranks
    assert ranks.tolist() == [2, 4, 1]
    assert rank(split, constant(4, 3, 2, 1), exclude_seen=False).ranks.tolist() == [3, 1, 2]


def test_of_equals_half_stand_before_the_target():
    split = Split(Histories.of([[]], 5), Histories.of([[4]], 5))
    assert rank(split, constant(9, 1, 1, 1, 1), exclude_seen=True).ranks.tolist() == [2.5]


def test_scores_are_those_of_the_definitions():
    """Two customers with targets, at places 1 and 7 of the first and 2 of the second; a third has none."""
    split = Split(Histories.of([[], [], []], 30), Histories.of([[0, 6], [1], []], 30))
    scores = evaluate(rank(split, constant(*range(30, 0, -1)), exclude_seen=True))
    assert scores["hit_rate@5"].value == 1
    assert scores["recall@5"].value == pytest.approx((1 / 2 + 1) / 2)
    assert scores["recall@10"].value == 1
    first, second, seventh = 1, 1 / math.log2(3), 1 / math.log2(8)
    assert scores["ndcg@10"].value == pytest.approx(((first + seventh) / (first + second) + second) / 2)
    assert scores["mrr"].value == pytest.approx((1 + 1 / 2) / 2)


def test_coverage_and_novelty_tell_of_the_lists():
    split = Split(Histories.of([[0], [0], [1], [0]], 40), Histories.of([[2]] * 4, 40))
    ranking = rank(split, constant(*range(40, 0, -1)), exclude_seen=False)
    assert coverage(ranking) == 10 / 40
    assert novelty(ranking) == pytest.approx((-math.log2(3 / 4) + 9 * 2) / 10)


def test_nothing_to_score_is_said():
    split = Split(Histories.of([[0]], 3), Histories.of([[]], 3))
    with pytest.raises(ValueError, match="no customer has a target"):
        evaluate(rank(split, constant(1, 2, 3), exclude_seen=True))


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=40)
def test_scores_are_bounded_grow_with_the_cutoff_and_are_one_for_who_knows(seed, exclude_seen):
    draw = np.random.default_rng(seed)
    targets = [draw.choice(30, draw.integers(1, 6), replace=False).tolist() for _ in range(12)]
    known = [[item for item in draw.integers(0, 30, 5).tolist() if item not in mine] for mine in targets]
    split = Split(Histories.of(known, 30), Histories.of(targets, 30))
    noise = draw.random((12, 30))
    scores = evaluate(rank(split, lambda _: noise, exclude_seen=exclude_seen))
    for low, high in pairwise(CUTOFFS):
        assert scores[f"hit_rate@{low}"].value <= scores[f"hit_rate@{high}"].value
    for score in scores.values():
        assert 0 <= score.low <= score.value + 1e-12
        assert score.value - 1e-12 <= score.high <= 1
    knowing = evaluate(rank(split, lambda _: split.targets.matrix().toarray(), exclude_seen=exclude_seen))
    assert knowing["hit_rate@10"].value == 1
