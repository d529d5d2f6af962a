"""Brings queued messages to their sinks: each at its own pace, none in the way of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from queue import Empty, Queue
from threading import Thread
from typing import NamedTuple

from cartograph.alerts.ledger import Ledger
from cartograph.alerts.messages import Message
from cartograph.alerts.sinks import TIMEOUT_SECONDS, RefusedError, Sink, SinkError

DEADLINE_SECONDS = 1.5 * TIMEOUT_SECONDS
"""A sink that has not taken a message by then is tried again later."""


class Failures(NamedTuple):
    """The sinks that are tried again later, each with the reason; and why which messages were refused for good."""

    waiting: dict[str, str]
    refused: list[str]


def deliver(ledger: Ledger, sinks: Mapping[str, Sink], clock: Callable[[], datetime]) -> Failures:
    """Send what is due by `clock`; what was not taken.

    A sink that fails is left alone until its waiting time is over, with all that is queued for it; one that refuses a
    message gets the next. Messages for a sink that the file of alerts no longer has stay queued.
    """
    failures, refused = dict[str, str](), list[str]()
    while due := ledger.claim(clock(), without=failures):
        try:
            if due.sink not in sinks:
                raise SinkError("the file of alerts has no such sink any more")
            send(sinks[due.sink], due.message)
        except RefusedError as error:
            refused.append(f"{due.message.title}: {error}")
            ledger.refused(due, str(error), clock())
        except SinkError as error:
            failures[due.sink] = str(error)
            ledger.failed(due, str(error), clock())
        else:
            ledger.sent(due, clock())
    return Failures(failures, refused)


def send(sink: Sink, message: Message) -> None:
    """Send a message to a sink, within `DEADLINE_SECONDS`: what sends its answer bit by bit reaches no time limit.

    Raises:
        SinkError: it was not taken, for whatever reason: whose address no library can read (`http://a..b`) must keep no
            other sink waiting either. One that is too slow may have taken it; it gets it again, with the same id.
    """
    outcome: Queue[Exception | None] = Queue()

    def attempt() -> None:
        try:
            sink.send(message)
        except Exception as error:  # noqa: BLE001 - a library raises what it likes
            outcome.put(error)
        else:
            outcome.put(None)

    Thread(target=attempt, daemon=True).start()
    try:
        error = outcome.get(timeout=DEADLINE_SECONDS)
    except Empty:
        raise SinkError(f"it has not taken the message within {DEADLINE_SECONDS:g} seconds") from None
    if isinstance(error, SinkError):
        raise error
    if error is not None:
        reason = type(error).__name__  # its words may hold the address, which is a secret
        raise SinkError(f"it cannot be sent to ({reason}): look at its address in the file of alerts")
