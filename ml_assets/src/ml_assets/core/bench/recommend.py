"""Sequences of any shop or study: read, split by leaving the last item out, and scored by every recommendation model.

The format: one line for each user, with the user's id and then the ids of their items, oldest first, separated by
blanks. The protocol is that of the papers on sequential recommendation: the last item of each user is the test, the
one before it tunes, and each is ranked among all items which that user has not seen.
"""

from __future__ import annotations

import math
import resource
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from ml_assets.core.bench.errors import BenchDataError
from ml_assets.core.evaluation.ranking import (
    Scorer,
    Split,
    chosen,
    coverage,
    evaluate,
    leave_one_out,
    novelty,
    rank,
    same_for_all,
)
from ml_assets.core.models.recommendation import tuning
from ml_assets.core.models.recommendation.factors import Factors
from ml_assets.core.models.recommendation.histories import REPEATS_MATTER_FROM, Histories, popularity, repeat_share
from ml_assets.core.models.recommendation.recommender import Recommender

FORMAT = "Write one user a line: the user's id, then the items in order, oldest first, separated by blanks."
FEWEST_USERS = 20
MOST_USERS = 20_000
"""Of a larger file so many users, drawn with a fixed seed, are scored; all of them are learned from."""


class Timer:
    """Seconds of wall time by step."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """`tell` is called with the name of each step that begins."""
        self.seconds: dict[str, float] = {}
        self._tell = tell

    def __call__(self, step: str, work: Callable[[], Any]) -> Any:
        """Do `work`, and count its seconds to `step`."""
        self._tell(step)
        began = perf_counter()
        done = work()
        self.seconds[step] = round(self.seconds.get(step, 0) + perf_counter() - began, 2)
        return done


def read_sequences(path: Path) -> Histories:
    """Read a file of sequences; users and items are numbered as they come.

    Raises:
        BenchDataError: the file is missing, no UTF-8 text, or not in the format; the message names file and line.
    """
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    sequences: list[list[int]] = []
    for number, line in _lines(path):
        user, *bought = line.split()
        if not bought:
            raise BenchDataError(f"{path}, line {number}: user {user[:40]!r} has no items. {FORMAT}")
        if len(bought) == 1:
            raise BenchDataError(
                f"{path}, line {number}: user {user[:40]!r} has one item, so nothing is left once it is the test. "
                "Leave users with fewer than two items out."
            )
        if user in users:
            raise BenchDataError(
                f"{path}, line {number}: user {user[:40]!r} has line {users[user]} already. Write all items of a user "
                "in one line."
            )
        users[user] = number
        sequences.append([items.setdefault(item, len(items)) for item in bought])
    if len(users) < FEWEST_USERS:
        raise BenchDataError(
            f"{path} has {len(users)} users, and no score means anything with fewer than {FEWEST_USERS}. {FORMAT}"
        )
    if max(map(len, sequences)) < 3:
        raise BenchDataError(
            f"{path}: no user has three items, so none is left to tune on: of each user the last item is the test and "
            "the one before it tunes. Add users with more items."
        )
    return Histories.of(sequences, len(items))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1 on."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BenchDataError(f"{path} cannot be read: {error.strerror}. Give the path of a text file.") from None
    for number, line in enumerate(content.splitlines(), 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise BenchDataError(f"{path}, line {number} is not UTF-8. Convert the file, or unpack it.") from None
        if text.strip():
            yield number, text


def bench(path: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Score every model on a file: its facts, the parameters, metrics with intervals, seconds and memory.

    `tell` hears of each step.

    Raises:
        BenchDataError: as `read_sequences` says.
    """
    timer = Timer(tell)
    histories: Histories = timer("read", lambda: read_sequences(path))
    validation, test = _with_history(leave_one_out(histories, last=2)), leave_one_out(histories)
    repeats = repeat_share(test.known)
    exclude_seen = repeats < REPEATS_MATTER_FROM

    penalty = timer("tune", lambda: tuning.best_penalty(validation, exclude_seen=exclude_seen))
    learned = timer("tune", lambda: tuning.learn(validation.known, penalty))
    parameters, validated = timer("tune", lambda: tuning.tune(learned, validation, exclude_seen=exclude_seen))
    final: tuning.Learned = timer("fit", lambda: tuning.learn(test.known, penalty))

    scored = tuning.some_customers(test, MOST_USERS)
    metrics: dict[str, dict[str, float]] = {}
    intervals: dict[str, dict[str, list[float]]] = {}
    for name, make in _scorers(histories, test.known, final, parameters):
        metrics[name], intervals[name] = timer(name, partial(_metrics, scored, make, exclude_seen))
    return {
        "data": {
            "file": str(path),
            "users": histories.rows,
            "items": histories.size,
            "actions": len(histories.items),
            "repeat_share": round(repeats, 4),
        },
        "protocol": {
            "split": "leave one out: the last item is the test, the one before it tunes",
            "candidates": "all items that the user has not seen" if exclude_seen else "all items",
            "users_scored": scored.known.rows,
            "users_tuned_on": min(validation.known.rows, tuning.CUSTOMERS),
            "intervals": "95 %, bootstrap of users",
        },
        "parameters": {
            "chosen": {name: round(value, 4) for name, value in parameters._asdict().items()},
            "ease_penalty": penalty,
            "trials": tuning.TRIALS,
            f"validation_{tuning.OBJECTIVE}": round(validated, 4),
        },
        "metrics": metrics,
        "intervals": intervals,
        "seconds": {**timer.seconds, "all": round(sum(timer.seconds.values()), 2)},
        "cpu_seconds": round(process_time(), 2),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _scorers(
    everything: Histories, known: Histories, learned: tuning.Learned, parameters: tuning.Parameters
) -> Iterator[tuple[str, Callable[[], Scorer]]]:
    """Each model's name and how it is made."""
    popular = popularity(known)

    yield "popularity", lambda: same_for_all(popular)
    yield "popularity_with_test_items", lambda: same_for_all(popularity(everything))
    yield "cosine_knn", lambda: tuning.scorer(learned.cosine, math.inf, popular)
    yield "als", lambda: Factors(known).scores
    if learned.ease is not None:
        yield "ease", lambda: tuning.scorer(learned.ease, math.inf, popular)
    yield (
        "transitions",
        lambda: tuning.scorer(tuning.ordered_weights(known, parameters), parameters.half_life, popular),
    )
    no_categories, offered = np.zeros(known.size, np.int64), np.ones(known.size, bool)

    def chosen_model() -> Scorer:
        matrix = tuning.weights(learned, parameters)
        return Recommender(matrix, parameters.half_life, popular, no_categories, offered).scores

    yield "chosen", chosen_model


def _metrics(
    split: Split, make: Callable[[], Scorer], exclude_seen: bool
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Each score of a model, and the scores' intervals."""
    ranking = rank(split, make(), exclude_seen=exclude_seen)
    scores = evaluate(ranking)
    values = {name: round(score.value, 4) for name, score in scores.items()}
    intervals = {name: [round(score.low, 4), round(score.high, 4)] for name, score in scores.items()}
    return {**values, "coverage@10": round(coverage(ranking), 4), "novelty@10": round(novelty(ranking), 2)}, intervals


def _with_history(split: Split) -> Split:
    """Without the users of whom nothing is known before the target, which a user of two items leaves to tune on."""
    return chosen(split, np.flatnonzero(np.diff(split.known.starts) > 0))
