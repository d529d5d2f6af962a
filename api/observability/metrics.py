"""The metrics of the service, as Prometheus reads them, and how several worker processes add theirs up.

Counters live here, since what counts is everywhere; what can be told when it is asked for, such as the release's age,
is collected then. Answers of a cache are the requests with status 304, and refusals of the guard those with 401, 403
and 429: they have no counter of their own.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from math import inf, isnan
from tempfile import TemporaryDirectory

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.services.serving import State

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which the library hears, before it is imported, of the folder that worker processes share."""
OTHER = "other"
UNMATCHED = "unmatched"
"""In place of a path that no route has, and that may hold anything."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Around the goal of 15 ms, where most of the answers are."""
SCORES_UP_TO = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 10, 100, 1_000, 10_000)
"""Tenths for probabilities; powers of ten for amounts, such as lifetime values."""

REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "cartograph_requests", "Requests, by the template of their route.", ("method", "route", "status"), registry=REGISTRY
)
LATENCY = Histogram(
    "cartograph_request_duration_seconds",
    "Time from a request's headers to the last part of its answer.",
    ("method", "route"),
    buckets=SECONDS,
    registry=REGISTRY,
)
SCORES = Counter(
    "cartograph_scores",
    "Scores that models gave to requests, by the smallest of some bounds that is not below them.",
    ("model", "up_to"),
    registry=REGISTRY,
)
LOGGED = Counter(
    "cartograph_logged_predictions",
    "Sampled predictions: written to the log, or lost, since it could not be written or its folder was full.",
    ("outcome",),
    registry=REGISTRY,
)
EVENTS = Counter(
    "cartograph_events",
    "Events that were sent: accepted and durable, repeated after such, refused by their contract, or unavailable: "
    "turned away since the log cannot be written.",
    ("outcome",),
    registry=REGISTRY,
)
UNWRITTEN = Counter(
    "cartograph_unwritten_orders",
    "Orders and outcomes that were turned away since the journal of the checkout could not be written.",
    registry=REGISTRY,
)

_UP_TO = (*(f"{bound:g}" for bound in SCORES_UP_TO), "+Inf")


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request that was answered within `seconds`."""
    requests, latency = _series(method if method in METHODS else OTHER, route, status)
    requests.inc()
    latency.observe(seconds)


def observe_scores(model: str, scores: Sequence[float]) -> None:
    """Count the scores that a model gave; those that are no numbers are left out."""
    ordered = sorted(score for score in scores if not isnan(score))
    below = 0
    for place, bound in enumerate((*SCORES_UP_TO, inf)):
        up_to = bisect_right(ordered, bound)
        if up_to > below:
            _scores(model, place).inc(up_to - below)
        below = up_to


class Served(Collector):
    """What is served at the moment `now`, by the process that is asked: after a change, workers converge in seconds.

    `refused` is how many stored releases were refused, `log_bytes` how long the event log is, None without one.
    """

    def __init__(self, state: State, now: datetime, *, refused: int = 0, log_bytes: int | None = None) -> None:
        self._state, self._now, self._refused, self._log_bytes = state, now, refused, log_bytes

    def collect(self) -> Iterator[Metric]:
        """Whether there is a release, which, how old it is, what cannot be served, and what events wait on the disk."""
        release, problem = self._state.release, self._state.problem
        yield _gauge("cartograph_ready", "Whether a verified release is served.", release is not None)
        yield _gauge(
            "cartograph_release_problem",
            "Whether the current release cannot be served; /ready says why.",
            bool(problem),
        )
        yield _gauge("cartograph_refused_releases", "Stored releases that were refused.", self._refused)
        if self._log_bytes is not None:
            yield _gauge("cartograph_event_log_bytes", "What the event log keeps on the disk.", self._log_bytes)
        if release is None:
            return
        manifest = release.manifest
        age = (self._now - manifest.created_at).total_seconds()
        yield _gauge("cartograph_release_age_seconds", "Time since the release was made.", age)
        served = GaugeMetricFamily(
            "cartograph_release_info", "The release that is served.", labels=("release_id", "as_of")
        )
        served.add_metric((manifest.release_id, manifest.inputs.as_of.isoformat()), 1)
        yield served


def exposition(served: Served) -> bytes:
    """All metrics in Prometheus's text format: counters of all worker processes, and the rest of this one."""
    registry = CollectorRegistry()
    registry.register(served)
    ProcessCollector(registry=registry)
    folder = os.environ.get(SHARED)
    if folder:
        MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    else:
        registry.register(_Own())
    return generate_latest(registry)


@lru_cache(maxsize=4096)
def _series(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The library's own look-up by labels takes longer than the counting."""
    return REQUESTS.labels(method, route, str(status)), LATENCY.labels(method, route)


@lru_cache(maxsize=4096)
def _scores(model: str, place: int) -> Counter:
    return SCORES.labels(model, _UP_TO[place])


@contextmanager
def shared() -> Iterator[None]:
    """Let processes that start within the block add their counters up; those of this process stay its own."""
    with TemporaryDirectory(prefix="cartograph-metrics-") as folder:
        os.environ[SHARED] = folder
        try:
            yield
        finally:
            del os.environ[SHARED]


class _Own(Collector):
    """The counters of this process, where it is the only one."""

    def collect(self) -> Iterator[Metric]:
        yield from REGISTRY.collect()


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value=float(value))
