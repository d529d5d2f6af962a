"""The online state: what has happened since a release was made, as the next recommendation and fraud check need it.

Sessions of visitors, what customers have just seen and bought, and the orders at the checkout, in memory and bounded.
The event log keeps the events: each worker hears of its own before their client does, follows what the others append,
and reads the end of the log at its start. Orders are shared by all workers and survive them through the journal. How
features follow from orders is `ml_assets.core.features.order_ledger`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, NoReturn

from api.services.journal import KEPT, WAIT_SECONDS, Fact, Journal, JournalUnavailableError
from cartograph.events import Follower
from cartograph.releases.order_history import NO_KEY, key_of
from ml_assets.core.features.order_history import OrderHistory
from ml_assets.core.features.order_ledger import Line, OrderLedger, Outcome, Placed, Value
from ml_assets.core.features.order_risk import HOUR, NO_VISIT

FOLLOW_SECONDS = 0.2
"""So often a worker looks for others' events, and for what their orders were of: a purchase's event does not say it."""
FIRST_BYTES = 16 * 1024 * 1024
"""So much of the log's end is read at a start: some 60,000 events, for which a core works up to a second."""
TOGETHER = 1_000
"""Events and facts that are taken in one piece: who asks meanwhile waits for so many."""
SESSION_GAP_US = 30 * 60 * 1_000_000
"""A visitor who does nothing for so long begins a new session, as in the marts."""
SESSION_PRODUCTS = 20
BOUGHT = 50
"""So many purchases of a customer, the latest."""
VISIT_EVENTS = 200
VISIT_US = 2 * HOUR
"""So many events of a customer, the latest, and of so long: orders ask for those of an hour, and may be told late."""
MOST_VISITORS = 50_000
MOST_CUSTOMERS = 50_000
MOST_BASKETS = 20_000
LEDGERS = 2
"""Of so many releases the orders since are kept in memory: the one that is served, and that before it."""

_SEEN = frozenset({"product_view", "add_to_cart"})
_PURCHASE = "purchase"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

logger = logging.getLogger("uvicorn.error")


class Recent(NamedTuple):
    """What a customer has just done: the products of their latest session, and those bought, the latest last."""

    viewed: tuple[str, ...]
    bought: tuple[str, ...]


class Judged(NamedTuple):
    """The features of an order, and which of its attempts it is."""

    features: dict[str, Value]
    attempt: int


class _Visit:
    """The products of a latest session with their moments, the latest last."""

    __slots__ = ("products",)

    def __init__(self) -> None:
        self.products: list[tuple[int, str]] = []

    def see(self, us: int, product: str) -> None:
        """A product, seen again, is the latest; one of a session before the latest is passed over.

        The same event changes nothing when it is told again.
        """
        last = self.products[-1][0] if self.products else us
        if us < last - SESSION_GAP_US:
            return
        if us > last + SESSION_GAP_US:
            self.products = []
        before = max((then for then, seen in self.products if seen == product), default=us)
        kept = [seen for seen in self.products if seen[1] != product]
        self.products = sorted([*kept, (max(us, before), product)])[-SESSION_PRODUCTS:]


class _Received(dict[int, int]):
    """When the latest events of a customer were received, by the events' keys."""

    def take(self, event: int, us: int) -> None:
        """An event, which may be told again: the first time counts."""
        self[event] = min(us, self.get(event, us))
        begin = max(self.values()) - VISIT_US
        while self[oldest := min(self, key=self.__getitem__)] < begin or len(self) > VISIT_EVENTS:
            del self[oldest]


class _Bounded(OrderedDict[int, Any]):
    """A dictionary of the latest `most` entries by when they were last `touched`."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def touched(self, key: int, make: Any) -> Any:
        """The entry of `key`, made where there is none."""
        if key not in self:
            self[key] = make()
            if len(self) > self._most:
                self.popitem(last=False)
        self.move_to_end(key)
        return self[key]


class _Orders:
    """The orders since a history, as far as the journal was read."""

    def __init__(self, history: OrderHistory) -> None:
        self.ledger = OrderLedger(history)
        self.number = 0
        self.learned = 0

    def learn(self, facts: Iterable[Fact]) -> None:
        """Take those that are not known yet."""
        for number, body in facts:
            if number > self.number:
                if body[0] == "order":
                    self.ledger.place(_placed(body[1]))
                else:
                    self.ledger.settle(Outcome._make(body))
                self.number = number
                self.learned += 1


class _Trouble:
    """What may fail for a while: the log hears of it once when it begins, and once when it is over."""

    def __init__(self, begins: str, ends: str) -> None:
        self._begins, self._ends = begins, ends
        self._is_there = False

    @contextmanager
    def told(self, kind: type[Exception] = Exception) -> Iterator[None]:
        """Tell that the block fails by an error of this kind, which it then does, or no longer."""
        try:
            yield
        except kind as error:
            if not self._is_there:
                is_plain = isinstance(error, JournalUnavailableError | OSError)  # of others the log tells the places
                logger.error("%s. %s", self._begins, error if is_plain else "", exc_info=not is_plain)
            self._is_there = True
            raise
        if self._is_there:
            logger.warning(self._ends)
        self._is_there = False


class NothingOnline:
    """Of whom nothing has happened since the release, in the place of `OnlineState` where only it is to be asked."""

    def session(self, visitor_id: str) -> tuple[str, ...]:  # noqa: ARG002
        """No product."""
        return ()

    def customer(self, customer_id: str, since_us: int) -> None:
        """Nothing."""


class OnlineState:
    """All methods may be called from several threads.

    With a journal of the same file and the same folder of events, processes share one state.
    """

    def __init__(self, path: Path, events: Path) -> None:
        self._journal = Journal(path)
        self._log = Follower(events, first_bytes=FIRST_BYTES)
        self._log_lock = Lock()
        self._lock = Lock()
        self._orders_lock = Lock()  # apart: the journal may have to wait for another worker
        self._learning = Lock()
        self._visitors = _Bounded(MOST_VISITORS)
        self._viewed = _Bounded(MOST_CUSTOMERS)
        self._visits = _Bounded(MOST_CUSTOMERS)
        self._bought = _Bounded(MOST_CUSTOMERS)
        self._baskets = _Bounded(MOST_BASKETS)
        self._baskets_seen = 0
        self._orders: dict[OrderHistory, _Orders] = {}  # replaced in one assignment, and by one thread at a time
        self._unwritten = _Trouble("Orders at the checkout are turned away", "Orders at the checkout are taken again")
        self._without_events = _Trouble("The event log cannot be followed", "The event log is followed again")
        self._without_journal = _Trouble("The journal cannot be followed", "The journal is followed again")

    def apply(self, events: Sequence[Mapping[str, object]]) -> None:
        """Take events in the form of the contract `events`, which are valid; its timestamps are datetimes or ISO 8601.

        What says nothing about sessions and purchases is passed over; an event may be told twice.
        """
        with self._lock:
            for event in events:
                self._take(event)

    def session(self, visitor_id: str) -> tuple[str, ...]:
        """The products of the visitor's latest session, the latest last; none of an unknown visitor."""
        visit = self._visitors.get(key_of("visitor", visitor_id))
        return tuple(product for _, product in visit.products) if visit else ()

    def customer(self, customer_id: str, since_us: int) -> Recent | None:
        """What a customer saw in the latest session, and bought, from `since_us` on; None where that is nothing."""
        if not self._viewed and not self._bought:
            return None
        key = key_of("customer", customer_id)
        with self._lock:
            visit, purchases = self._viewed.get(key), sorted(self._bought.get(key, ()))
        viewed = tuple(product for us, product in visit.products if us >= since_us) if visit else ()
        bought = tuple(
            product
            for us, named, order in purchases
            if us >= since_us
            for product in ([named] if named else self._baskets.get(order, ()))
        )
        return Recent(viewed, bought) if viewed or bought else None

    def prepare(self, history: OrderHistory) -> None:
        """Learn the orders since a history before one is judged by it. Meanwhile they are judged by others.

        Of a journal that cannot be read they are learned with the first order that is judged.
        """
        with suppress(JournalUnavailableError):
            self._known(history)

    def judge(self, history: OrderHistory, order: Placed, products: Sequence[str]) -> Judged:
        """The features of an order, which from now on counts as placed: once, and each different attempt at it, too.

        Raises:
            JournalUnavailableError: the order cannot be kept, and does not count.
        """
        visits = self._visits_of(order.customer)
        with self._writing(history) as ledger:
            judged = Judged(ledger.features(order, visits), ledger.attempt(order))
            is_new = not ledger.counts(order)
            if is_new:  # the ledger learns of it as of all others: from the journal
                self._journal.append(order.customer, ["order", plain(order), list(products)])
        if is_new:
            with self._lock:
                self._keep_basket(order.order, products)
        return judged

    def settle(self, history: OrderHistory, outcome: Outcome) -> bool:
        """Count what became of an order, once; whether it is known whose it was.

        Raises:
            JournalUnavailableError: it cannot be kept, and does not count.
        """
        with self._writing(history) as ledger:
            is_known = ledger.knows_whose(outcome)
            if is_known and not ledger.is_settled(outcome):
                self._journal.append(outcome.customer, list(outcome))
        return is_known

    def follow(self) -> None:
        """Learn what other workers and those before them know: events, and the orders that they judged.

        What fails is logged: of the two files one may be broken, and who follows them must outlive it.
        """
        with suppress(Exception), self._without_events.told():
            self._follow_events()
        with suppress(Exception), self._without_journal.told():
            self._follow_orders()

    async def learn(self) -> None:
        """Follow once, apart from the event loop."""
        await asyncio.to_thread(self.follow)

    async def watch(self) -> NoReturn:
        """Follow for ever."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            await self.learn()

    def close(self) -> None:
        """Let go of the journal and the event log."""
        with self._log_lock:
            self._log.close()
        with self._orders_lock:
            self._journal.close()

    @contextmanager
    def _writing(self, history: OrderHistory) -> Iterator[OrderLedger]:
        """The orders since a history, all of them, while no other thread or worker may write to the journal.

        Most are learned before, so that nobody waits for long.
        """
        with self._unwritten.told(JournalUnavailableError):
            known = self._orders.get(history) or self._known(history)
            if not self._orders_lock.acquire(timeout=WAIT_SECONDS):
                raise JournalUnavailableError(f"Others have waited for the journal for {WAIT_SECONDS:g} seconds.")
            try:
                with self._journal.writing():
                    known.learn(self._journal.rest(known.number))
                    yield known.ledger
            finally:
                self._orders_lock.release()

    def _follow_events(self) -> None:
        with self._log_lock:
            told = self._log.new()
            for at in range(0, len(told), TOGETHER):
                self.apply(told[at : at + TOGETHER])

    def _follow_orders(self) -> None:
        for facts in self._told_after(self._baskets_seen):
            with self._lock:
                for _, body in facts:
                    if body[0] == "order":
                        self._keep_basket(_placed(body[1]).order, body[2])
            self._baskets_seen = facts[-1][0]
        for history, known in self._orders.items():
            for facts in self._told_after(known.number):
                with self._orders_lock:
                    known.learn(facts)
            if known.learned > 2 * KEPT:
                with self._learning:
                    self._keep({**self._orders, history: self._learned(history)})

    def _visits_of(self, customer: int) -> dict[int, int]:
        """When the customer's latest events that count for a visit were received, by the events' keys."""
        with self._lock:
            return dict(self._visits.get(customer, {}))

    def _keep_basket(self, order: int, products: Sequence[str]) -> None:
        """Keep what an order is of: of the attempts at it, the latest."""
        self._baskets.touched(order, tuple)
        self._baskets[order] = tuple(products)

    def _take(self, event: Mapping[str, object]) -> None:
        kind, product, order = event["event_type"], event.get("product_id"), event.get("order_id")
        customer = key_of("customer", str(event["customer_id"])) if event.get("customer_id") else NO_KEY
        us = _moment(event["occurred_at"])
        if customer and kind not in NO_VISIT:
            received = self._visits.touched(customer, _Received)
            received.take(key_of("event", str(event["event_id"])), _moment(event["received_at"]))
        if kind in _SEEN and product:
            self._visitors.touched(key_of("visitor", str(event["visitor_id"])), _Visit).see(us, str(product))
            if customer:
                self._viewed.touched(customer, _Visit).see(us, str(product))
        elif kind == _PURCHASE and customer:
            purchases = self._bought.touched(customer, set)
            purchases.add((us, str(product or ""), key_of("order", str(order))))
            if len(purchases) > BOUGHT:
                purchases.remove(min(purchases))

    def _known(self, history: OrderHistory) -> _Orders:
        """The orders since a history as far as they were learned, which is done where it was not."""
        with self._learning:
            others = self._orders.copy()
            known = others.pop(history, None) or self._learned(history)
            self._keep({**others, history: known})
        return known

    def _learned(self, history: OrderHistory) -> _Orders:
        known = _Orders(history)
        for facts in self._told_after(0):
            known.learn(facts)
        return known

    def _keep(self, orders: Mapping[OrderHistory, _Orders]) -> None:
        self._orders = dict([*orders.items()][-LEDGERS:])

    def _told_after(self, number: int) -> Iterator[list[Fact]]:
        """The facts of the journal after the one of that number, in pieces."""
        while facts := self._journal.after(number, TOGETHER):
            yield facts
            number = facts[-1][0]


def moment_of(value: datetime) -> int:
    """Microseconds since 1970 (UTC) of a moment with a time zone."""
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _moment(told: object) -> int:
    """`moment_of` a datetime or a text in ISO 8601."""
    return moment_of(told if isinstance(told, datetime) else datetime.fromisoformat(str(told)))


def plain(order: Placed) -> list[object]:
    """An order as the journal has it."""
    lines = [[line.category, line.quantity, str(line.unit_price), line.gross_cents] for line in order.lines]
    return [*order[:-1], lines]


def _placed(values: Any) -> Placed:
    lines = tuple(Line(category, units, Decimal(price), gross) for category, units, price, gross in values[-1])
    return Placed._make([*values[:-1], lines])
