"""Brings queued messages to their sinks: each at its own pace, none in the way of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from cartograph.alerts.ledger import Ledger
from cartograph.alerts.messages import Message
from cartograph.alerts.sinks import RefusedError, Sink, SinkError


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
    """Send a message to a sink.

    Raises:
        SinkError: it was not taken, for whatever reason: whose address no library can read (`http://a..b`) must keep no
            other sink waiting either.
    """
    try:
        sink.send(message)
    except SinkError:
        raise
    except Exception as error:  # noqa: BLE001 - a library raises what it likes
        reason = type(error).__name__  # its words may hold the address, which is a secret
        raise SinkError(f"it cannot be sent to ({reason}): look at its address in the file of alerts") from None
