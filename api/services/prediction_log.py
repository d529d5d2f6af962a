"""The log of predictions: which of them are kept, and how they get to the disk without a request waiting for it.

A prediction is kept by chance, whatever it is, so that those kept are like all. An entry names the model and the score
and nothing of whom it is about. The files' form is in `cartograph.prediction_log`.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from math import isfinite
from pathlib import Path
from threading import Event, Lock, Thread
from typing import NamedTuple
from uuid import uuid4

from api.observability.metrics import LOGGED, observe_scores
from cartograph.prediction_log import Entry, Segment, drop_unheld, line, segments

FLUSH_SECONDS = 1.0
"""What a killed process may lose; predictions can be spared, which events cannot."""
WAITING = 50_000
"""Entries that wait in memory at most."""
SEGMENT_BYTES = 4 * 1024 * 1024
SEGMENTS = 64
"""With SEGMENT_BYTES, what the log may take of the disk where no graph loads it: the oldest are dropped then."""

logger = logging.getLogger("api.predictions")


class _Waiting(NamedTuple):
    at: datetime
    model: str
    version: str
    release_id: str
    score: float


class Unlogged:
    """Takes predictions and keeps none: those that nobody has asked for."""

    def record(self, model: str, version: str, release_id: str, scores: Sequence[float]) -> None:
        """Forget the scores."""


class PredictionLog:
    """Takes predictions from any thread. `share` of them are kept, in `folder`.

    `clock` and `draw` are other sources of time and chance, for tests.
    """

    def __init__(
        self,
        folder: Path,
        share: float,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: random.Random | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        segments_kept: int = SEGMENTS,
    ) -> None:
        self._folder, self._share, self._clock = folder, share, clock
        self._draw = draw or random.Random()  # noqa: S311 - who guesses which predictions are logged gains nothing
        self._segment_bytes, self._segments_kept = segment_bytes, segments_kept
        self._waiting: deque[_Waiting] = deque()
        self._writing = Lock()
        self._segment: Segment | None = None
        self._process, self._numbers = uuid4().hex, count()
        self._fails = False
        self._ended = Event()
        self._thread: Thread | None = None

    def record(self, model: str, version: str, release_id: str, scores: Sequence[float]) -> None:
        """Count the scores that a model gave, and keep some of them. Costs no wait for the disk, and never fails."""
        observe_scores(model, scores)
        chosen = [score for score in self._chosen(scores) if isfinite(score)]
        if not chosen:
            return
        now, room = self._clock(), max(0, WAITING - len(self._waiting))
        self._waiting.extend(_Waiting(now, model, version, release_id, score) for score in chosen[:room])
        if len(chosen) > room:
            LOGGED.labels("lost").inc(len(chosen) - room)

    def start(self) -> None:
        """Write what waits every second, until `close`."""
        self._thread = Thread(target=self._write_on, name="prediction-log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and leave the file to the graph."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()
        with self._writing:
            self._end_segment()

    def flush(self) -> None:
        """Write what waits. What cannot be written is lost, counted, and told once."""
        with self._writing:
            taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if not taken:
                return
            lines = b"".join(self._line(one) for one in taken)
            try:
                if self._segment is None:
                    self._make_room()
                    self._segment = Segment.open(self._folder, taken[0].at)
                size = self._segment.write(lines)
            except OSError as error:
                self._lost(len(taken), error)
                self._end_segment()
                return
            LOGGED.labels("written").inc(len(taken))
            self._fails = False
            if size >= self._segment_bytes:
                self._end_segment()

    def _chosen(self, scores: Sequence[float]) -> list[float]:
        if self._share == 0:
            return []
        return [float(score) for score in scores if self._draw.random() < self._share]

    def _line(self, one: _Waiting) -> bytes:
        entry = Entry.model_construct(
            prediction_id=f"{self._process}-{next(self._numbers)}",
            predicted_at=one.at,
            model=one.model,
            model_version=one.version,
            release_id=one.release_id,
            score=one.score,
        )
        return line(entry)

    def _make_room(self) -> None:
        files = segments(self._folder)
        for path in files[: max(0, len(files) - self._segments_kept + 1)]:
            lost = sum(1 for _ in path.open("rb"))
            if drop_unheld(path, path.stat().st_size):
                LOGGED.labels("lost").inc(lost)
                logger.warning("The log of predictions is full: its oldest file is dropped. `cartograph run` loads it.")

    def _end_segment(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _lost(self, entries: int, error: OSError) -> None:
        LOGGED.labels("lost").inc(entries)
        if not self._fails:
            logger.warning("Predictions cannot be logged: %s", error.strerror or error)
        self._fails = True

    def _write_on(self) -> None:
        while not self._ended.wait(FLUSH_SECONDS):
            self.flush()
