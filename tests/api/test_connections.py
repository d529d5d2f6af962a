"""What an answer is written as: once, in the order in which it was made, and never held back in bulk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from api.connections import MOST_HELD_BYTES, OneWrite


class Wire(asyncio.Transport):
    """A transport that remembers what is done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[bytes | str] = []

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.done.append(bytes(data))

    def close(self) -> None:
        self.done.append("closed")

    def abort(self) -> None:
        self.done.append("aborted")

    def is_closing(self) -> bool:
        return bool({"closed", "aborted"} & set(map(str, self.done)))


def done(acts: Callable[[OneWrite], None]) -> list[bytes | str]:
    """What is done with the wire by the end of the turn in which the acts are."""

    async def one_turn() -> list[bytes | str]:
        wire = Wire()
        acts(OneWrite(wire, asyncio.get_running_loop()))
        await asyncio.sleep(0)
        return wire.done

    return asyncio.run(one_turn())


def test_a_header_and_its_body_are_one_write() -> None:
    assert done(lambda out: (out.write(b"HTTP/1.1 200 OK\r\n\r\n"), out.write(b"{}"))) == [b"HTTP/1.1 200 OK\r\n\r\n{}"]


def test_a_close_comes_after_what_was_written() -> None:
    assert done(lambda out: (out.write(b"an"), out.write(b"swer"), out.close())) == [b"answer", "closed"]


def test_an_end_at_once_drops_what_was_not_sent() -> None:
    assert done(lambda out: (out.write(b"answer"), out.abort())) == ["aborted"]


def test_much_is_written_without_waiting_for_the_end_of_the_turn() -> None:
    async def much() -> list[bytes | str]:
        wire = Wire()
        out = OneWrite(wire, asyncio.get_running_loop())
        out.write(b"x" * MOST_HELD_BYTES)
        assert wire.done == []
        out.write(b"y")
        return wire.done

    assert asyncio.run(much()) == [b"x" * MOST_HELD_BYTES + b"y"]
