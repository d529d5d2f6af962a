"""Takes events for the shop: holds them against their contract, makes them durable, and only then says so.

Requests that come at the same time are held, written and synced together (group commit): one sync of the disk takes
milliseconds, whatever it syncs. The log's form is `cartograph.events`, what a good event is `event_contract`; what
follows from an event at once is told to whoever `applies` it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, NoReturn, Protocol

from api.observability.metrics import EVENTS
from api.services.event_contract import Verdict, hold, is_text
from cartograph.events import Event, EventSink, LogUnavailableError, SegmentWriter, recover
from cartograph.settings import Settings
from cartograph.shops import ADDING, ShopError, load_shop
from cartograph.windows import Window

MOST_WAITING = 20_000
"""Events that wait to be written, of all requests; a request beyond that is turned away."""
MOST_TOGETHER = 5_000
MOST_REMEMBERED = 100_000

Given = Mapping[str, object]
"""An event as a client sends it."""

logger = logging.getLogger("uvicorn.error")


class Applies(Protocol):
    """What uses events at once, as the online features do."""

    def apply(self, events: Sequence[Mapping[str, object]]) -> None:
        """Take notice of events that are durable, before their client hears that they are."""
        ...


class BusyError(RuntimeError):
    """More events wait than can be taken in a moment."""


class NoEventLogError(RuntimeError):
    """The shop takes no events here. The message has the cause and the cure."""


class Outcome(NamedTuple):
    """What became of one event of a request. `repeated` ones were taken before, and count as taken.

    `event_id` is None where it had none that can be shown.
    """

    event_id: str | None
    status: Literal["accepted", "repeated", "refused"]
    reason: str = ""
    detail: str = ""


class Rules(NamedTuple):
    """What of the settings and the shop an event is held against."""

    shop_window: Window
    late_limit: timedelta


class _Submission(NamedTuple):
    events: Sequence[Given]
    ids: frozenset[str]
    taken: asyncio.Future[list[Outcome]]


def open_event_log(settings: Settings, online: Applies | None = None) -> EventLog:
    """The event log of the chosen shop; what processes that were killed left half-written is cut off.

    Raises:
        NoEventLogError: the shop's file does not say that events are loaded from here, or cannot be read.
    """
    try:
        shop = load_shop(settings)
    except ShopError as error:
        raise NoEventLogError(str(error)) from None
    if not shop.takes_events:
        raise NoEventLogError(
            f"Nothing would load them: {shop.file.name} names no source {', '.join(ADDING)}. Add it there, with "
            "`datasets: [events]`, and start the service again."
        )
    for name, size in recover(settings.events_dir).items():
        logger.warning("Event log: %d bytes of %s were half-written and are cut off", size, name)
    return EventLog(
        SegmentWriter(settings.events_dir),
        Rules(shop.span, timedelta(hours=settings.late_limit_hours)),
        online=online,
        without_erased=Erasures(settings).taken_out,
    )


class EventLog:
    """The service's end of the log. `submit` may be called from many requests at once, while `running`."""

    def __init__(
        self,
        sink: EventSink,
        rules: Rules,
        *,
        online: Applies | None = None,
        without_erased: Callable[[list[Event]], list[Event]] = lambda events: events,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._sink, self._rules, self._online = sink, rules, online
        self._without_erased, self._clock = without_erased, clock
        self._waiting: deque[_Submission] = deque()
        self._waiting_events = 0
        self._wake = asyncio.Event()
        self._remembered: dict[str, None] = {}
        self._is_broken = False

    async def submit(self, events: Sequence[Given]) -> list[Outcome]:
        """Take the events of one request; what became of each, once all that are accepted are durable.

        Raises:
            BusyError: too many events wait; try again.
            LogUnavailableError: the log cannot be written; nothing of the request is taken.
        """
        if self._waiting_events + len(events) > MOST_WAITING:
            raise BusyError(f"{self._waiting_events:,} events wait to be written.")
        ids = frozenset(found for found in map(_id, events) if found is not None)
        submission = _Submission(events, ids, asyncio.get_running_loop().create_future())
        self._waiting.append(submission)
        self._waiting_events += len(events)
        self._wake.set()
        return await submission.taken

    def size(self) -> int:
        """The bytes that the log keeps, whether the lake has them or not. Looks at the disk."""
        return self._sink.size()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write what is submitted, until the end of the block."""
        writing = asyncio.create_task(self._write())
        try:
            yield
        finally:
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
            self._sink.close()

    async def _write(self) -> NoReturn:
        await asyncio.to_thread(self._hold, [{}], self._clock())  # the first time takes half a second
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                group = self._next_group()
                work = asyncio.ensure_future(asyncio.to_thread(self._taken, group))
                try:
                    answers = await asyncio.shield(work)
                except asyncio.CancelledError:
                    await work  # a thread cannot be stopped, and the sink must not be closed beneath it
                    raise
                except Exception as error:  # noqa: BLE001  each request of the group says it, and the log goes on
                    for submission in group:
                        if not submission.taken.done():
                            submission.taken.set_exception(error)
                else:
                    for submission, outcomes in zip(group, answers, strict=True):
                        if not submission.taken.done():  # its client may have left
                            submission.taken.set_result(outcomes)

    def _next_group(self) -> list[_Submission]:
        """Submissions to write together: no two have an event in common, for the second is then a repetition."""
        group: list[_Submission] = []
        ids: set[str] = set()
        events = 0
        while self._waiting:
            following = self._waiting[0]
            if group and (events + len(following.events) > MOST_TOGETHER or not ids.isdisjoint(following.ids)):
                break
            group.append(self._waiting.popleft())
            ids |= following.ids
            events += len(following.events)
        self._waiting_events -= events
        return group

    def _taken(self, group: Sequence[_Submission]) -> list[list[Outcome]]:
        """Hold, write and sync the group's events; what became of each."""
        now = self._clock()
        given = [event for submission in group for event in submission.events]
        new = [number for number, event in enumerate(given) if _id(event) not in self._remembered]
        found = self._hold([given[number] for number in new], now)
        verdicts = _up_to_the_first_good(dict(zip(new, found, strict=True)), given)
        accepted = [verdict.event for verdict in verdicts.values() if verdict.event is not None]
        if accepted:
            try:
                kept = self._without_erased(accepted)
                self._sink.append(kept, now)
            except LogUnavailableError as error:
                self._tell(len(given), error)
                raise
            if self._is_broken:
                self._is_broken = False
                logger.warning("Event log: it can be written again")
            self._remember(event["event_id"] for event in accepted)
            self._apply(kept)
        found_out = [_outcome(event, verdicts.get(number)) for number, event in enumerate(given)]
        for outcome, count in Counter(one.status for one in found_out).items():
            EVENTS.labels(outcome).inc(count)
        outcomes = iter(found_out)
        return [[next(outcomes) for _ in submission.events] for submission in group]

    def _tell(self, events: int, error: LogUnavailableError) -> None:
        """Count events that are turned away, and log why: once, until the log is written again."""
        EVENTS.labels("unavailable").inc(events)
        if not self._is_broken:
            self._is_broken = True
            logger.error("Event log: events are turned away. %s", error)

    def _hold(self, events: Sequence[Given], now: datetime) -> list[Verdict]:
        return hold(events, now=now, shop_window=self._rules.shop_window, late_limit=self._rules.late_limit)

    def _remember(self, ids: Iterator[str]) -> None:
        self._remembered.update(dict.fromkeys(ids))
        while len(self._remembered) > MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    def _apply(self, events: Sequence[Event]) -> None:
        if self._online is None:
            return
        try:
            self._online.apply(events)
        except Exception:  # the events are durable, which is what the client asks
            logger.exception("Events were taken, but could not be applied")


class Erasures:
    """Takes customers who were erased out of events before they are written. Looks at the register when it changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = settings.shop_home / "erasures" / "register.json"
        self._seen: int | None = None
        self._change: Callable[[list[Event]], list[Event]] | None = None

    def taken_out(self, events: list[Event]) -> list[Event]:
        """The events without what was theirs.

        Raises:
            LogUnavailableError: the register cannot be used, so nobody knows who was erased.
        """
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:  # nobody was
            return events
        if self._change is None or changed != self._seen:
            from cartograph.erasure import ErasureError  # these take seconds, and most shops never need them
            from ecom_assets.erasure import events_without, known_erased

            try:
                self._change, self._seen = events_without(known_erased(self._settings)), changed
            except ErasureError as error:
                raise LogUnavailableError(str(error)) from error
        return self._change(events)


def _id(event: Given) -> str | None:
    """What an event calls itself; None where it has no such name."""
    found = event.get("event_id")
    return found if isinstance(found, str) else None


def _up_to_the_first_good(verdicts: Mapping[int, Verdict], given: Sequence[Given]) -> dict[int, Verdict]:
    """The verdicts on events, by their numbers, without those that repeat the id of a good one before."""
    taken: set[str | None] = set()
    kept: dict[int, Verdict] = {}
    for number, verdict in verdicts.items():
        found = _id(given[number])
        if found in taken:
            continue
        kept[number] = verdict
        if verdict.event is not None:
            taken.add(found)
    return kept


def _outcome(event: Given, verdict: Verdict | None) -> Outcome:
    """What became of an event; without a verdict it repeats one that was taken, whatever else it says."""
    event_id = _id(event)
    shown = event_id if event_id is not None and is_text(event_id) else None
    if verdict is None:
        return Outcome(shown, "repeated")
    if verdict.event is None:
        return Outcome(shown, "refused", verdict.reason, verdict.detail)
    return Outcome(shown, "accepted")
