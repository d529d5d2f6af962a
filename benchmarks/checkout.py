"""How soon is an event in the next answer, and what does judging an order take? Prints JSON lines.

`python benchmarks/checkout.py [customers]`: a made history of so many customers (1,000,000) with three orders each, on
disk and memory-mapped, and the online state beside it, in one process without HTTP. The bar is 1,000 ms at the 99th
percentile from an event, or an order, to an answer that knows it. The last line is of orders that are judged while one
of two workers learns all orders of a full journal for a new release: none is turned away, which takes 2,000 ms.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import count, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import perf_counter

import numpy as np

from api.services.journal import KEPT, Journal
from api.services.online import OnlineState, plain
from cartograph.releases.order_history import SCHEMA, key_of, pairs, write_history
from ml_assets.core.features.order_history import OrderHistory
from ml_assets.core.features.order_ledger import Line, Placed

AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF_US = int(AS_OF.timestamp()) * 1_000_000
CALLS = 3_000
BAR_MS = 1_000.0


def made_history(customers: int) -> dict[str, np.ndarray]:
    """Customers in pairs who share a device; each has a card of their own. Which customer has which key is known."""
    people = np.array([key_of("customer", str(number)) for number in range(customers)], np.uint64)
    cards = np.array([key_of("card", str(number)) for number in range(customers)], np.uint64)
    devices = np.array([key_of("device", str(number)) for number in range(customers // 2)], np.uint64)
    shared = np.repeat(devices, 2)
    people, cards = people[: len(shared)], cards[: len(shared)]
    groups = np.repeat(np.arange(len(devices)), 2)
    by_person, tokens = np.argsort(people), np.concatenate([cards, devices])
    by_token = np.argsort(tokens)
    columns = {
        field.name: np.zeros(len(people), field.type.value_type.to_pandas_dtype())
        for field in SCHEMA
        if field.name.startswith("customer_")
    }
    columns |= {"customer_key": people[by_person], "customer_group": groups[by_person].astype(np.int32)}
    columns["customer_orders"][:] = 3
    columns["customer_spent_cents"][:] = 15_000
    columns["customer_last_us"][:] = AS_OF_US - 1
    columns["pair_key"] = np.sort(np.concatenate([pairs(cards, people), pairs(shared, people)]))
    columns["token_key"] = tokens[by_token]
    columns["token_customers"] = np.concatenate([np.ones(len(cards)), np.full(len(devices), 2)])[by_token]
    columns["token_group"] = np.concatenate([groups, np.arange(len(devices))])[by_token]
    columns["group_customers"] = np.full(len(devices), 2)
    columns["group_chargebacks"] = np.zeros(len(devices))
    kinds = {field.name: field.type.value_type.to_pandas_dtype() for field in SCHEMA}
    return {name: np.asarray(columns.get(name, []), kind) for name, kind in kinds.items()}


def made_order(number: int, customer: int) -> Placed:
    """An order of one line by one of the customers, a second after the one before."""
    keys = {"card": str(customer), "device": str(customer // 2), "network": f"10.0.0.{number % 200}"}
    return Placed(
        order=key_of("order", str(number)),
        us=AS_OF_US + number * 1_000_000,
        customer=key_of("customer", str(customer)),
        **{kind: key_of(kind, name) for kind, name in keys.items()},
        address=None,
        registered_us=None,
        city=None,
        country=None,
        ship_city=0,
        ship_country=0,
        gross_cents=5_000,
        discount_cents=0,
        total_cents=5_000,
        lines=(Line(key_of("category", "tea"), 1, 50, 5_000),),
    )


def made_view(number: int, customer: str) -> dict[str, object]:
    """A customer's view of a product, as many seconds after the release's date."""
    happened = AS_OF + timedelta(seconds=number)
    made = {"event_id": f"E{number}", "event_type": "product_view", "occurred_at": happened, "received_at": happened}
    return {**made, "visitor_id": f"V{number % 1000}", "customer_id": customer, "product_id": f"P{number}"}


def filled(path: Path, orders: int) -> None:
    """Have the journal know so many orders more."""
    journal = Journal(path)
    with journal.writing():
        for number in range(orders):
            order = made_order(number, number)
            journal.append(order.customer, ["order", plain(order), []])
    journal.close()


def timed(name: str, call: Callable[[int], bool], numbers: Iterable[int] = range(CALLS)) -> None:
    """Print how long each of the calls took, and whether all answers knew what they had to."""
    took, knew = [], True
    for number in numbers:
        begun = perf_counter()
        knew &= call(number)
        took.append((perf_counter() - begun) * 1_000)
    p50, p99 = np.percentile(took, [50, 99])
    figures = {"calls": len(took), "p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "most_ms": round(max(took), 1)}
    print(json.dumps({"benchmark": f"checkout.{name}", **figures, "reached": bool(knew and p99 < BAR_MS)}))


def main(customers: int) -> None:
    """Measure on a history of so many customers."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "order_history.arrow"
        write_history(path, AS_OF_US, made_history(customers))
        begun = perf_counter()
        history = OrderHistory.open(path)
        opened = {"open_ms": round((perf_counter() - begun) * 1_000, 1), "bytes": path.stat().st_size}
        print(json.dumps({"benchmark": "checkout.history", "customers": customers, **opened}))
        workers = [OnlineState(Path(folder) / "state.db", Path(folder) / "events") for _ in range(2)]
        draw = np.random.default_rng(7).integers(0, customers // 2, CALLS)

        def judged(number: int) -> bool:
            """An order at one worker, and the next one of the pair's device at the other."""
            customer = int(draw[number % CALLS]) * 2
            first = workers[0].judge(history, made_order(2 * number, customer), []).features
            second = workers[1].judge(history, made_order(2 * number + 1, customer + 1), []).features
            return int(second["device_orders_24h"] or 0) == int(first["device_orders_24h"] or 0) + 1

        def seen(number: int) -> bool:
            workers[0].apply([made_view(number, "C1")])
            return workers[0].session(f"V{number % 1000}")[-1] == f"P{number}"

        def visited(number: int) -> bool:
            """An event of a customer, and a second later their order."""
            customer = int(draw[number % CALLS]) * 2
            workers[0].apply([made_view(2 * CALLS + number - 1, str(customer))])
            features = workers[0].judge(history, made_order(2 * CALLS + number, customer), []).features
            return int(features["events_1h"] or 0) >= 1

        timed("two_orders_at_two_workers", judged)
        timed("event_to_session", seen)
        timed("event_to_order", visited)

        filled(Path(folder) / "state.db", KEPT)
        for worker in workers:
            worker.follow()
        learning = Thread(target=workers[0].prepare, args=[OrderHistory.open(path)])
        learning.start()
        numbers = takewhile(lambda _: learning.is_alive(), count(KEPT))
        timed("two_orders_while_a_release_is_prepared", judged, numbers)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
