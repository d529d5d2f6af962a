"""What a connection must keep to before there is a request: a header that comes in time, is short, and means one thing.

uvicorn ends connections that are idle between requests, but waits for ever for a header that dribbles in, and keeps
whatever length of it in memory. A server in front of the service does these things too; this holds without one.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.problems import SECURITY_HEADERS, ProblemError, response_to

MAX_HEADER_BYTES = 32 * 1024
MOST_HELD_BYTES = 64 * 1024
"""What of an answer waits for the end of a turn of the loop."""


class MalformedHeaderError(ValueError):
    """A header that different servers would read differently, or that is too long. It ends in a 400."""


class OneWrite(asyncio.Transport):
    """Writes to `transport` what one turn of the loop writes at once: the header of an answer together with its body.

    uvicorn writes them one after the other, and a second write to the system costs as much as all that an endpoint
    does.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> None:
        """Write at the end of the turn, or now if there is much: then the transport may say that it is too much."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > MOST_HELD_BYTES:
            self._flush()

    def close(self) -> None:
        """Close after what was written."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close without it."""
        self._parts.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Take nothing in."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take in again."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport knows, as the address of the other end."""
        return self._transport.get_extra_info(name, default)

    def _flush(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        if parts and not self._transport.is_closing():
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))


class OneProtocol(httptools.HttpRequestParser):
    """A parser for which a request that would go on in another protocol ends the bytes that it was fed with.

    httptools takes none of the body then, and what comes next for a new request.
    """

    def __init__(self, protocol: BoundedProtocol) -> None:
        super().__init__(protocol)
        self._protocol = protocol

    def feed_data(self, data: Any) -> None:
        """Parse, and let the protocol go on without the wish for another one."""
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as found:
            self._protocol.ignore_upgrade(data[found.args[0] :])


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol over httptools, for `uvicorn.Config(http=...)`, with bounds on each request's header.

    A wish for another protocol is ignored, as RFC 9110 (section 7.8) allows.
    """

    header_seconds = 10.0
    """How long a header may take from the start of the connection, or from its first byte."""

    drain_seconds = 30.0
    """How long a client may leave what was sent to it unread, once that is more than the connection holds."""

    _deadline: asyncio.TimerHandle | None = None
    _drain_deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_message = False
    """Between the end of a header and the end of its body: nothing is held against the header's bounds."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.parser = OneProtocol(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a header."""
        super().connection_made(OneWrite(transport, self.loop))
        self._expect_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        self._stop_draining()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what came, and hold what of it is header against the bounds."""
        if not self._in_message:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_message or self.transport.is_closing():
            return
        if self._header_bytes > MAX_HEADER_BYTES:
            self.send_400_response(f"A header may have {MAX_HEADER_BYTES} bytes.")
        elif self._deadline is None and self._header_bytes:
            self._expect_header()

    def ignore_upgrade(self, rest: bytes) -> None:
        """Take the request that has just been parsed as one that asks for no other protocol, and `rest` as its body.

        Raises:
            HttpParserError: it is no request without that.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            raise httptools.HttpParserError("a request for a tunnel")
        lines = [b"%b %b HTTP/%b" % (method, self.url, version), *map(b"%b: %b".__mod__, without_upgrade(self.headers))]
        self.parser = OneProtocol(self)
        self.parser.feed_data(b"\r\n".join([*lines, b"", rest]))

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request with a problem, and end the connection."""
        problem = ProblemError(400, "malformed-request", msg, headers={**SECURITY_HEADERS, "Connection": "close"})
        response = response_to(problem, "")
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = [STATUS_LINE[400], *(b"%b: %b\r\n" % header for header in headers), b"\r\n", response.body]
        self.transport.write(b"".join(lines))
        self.transport.close()

    def on_headers_complete(self) -> None:
        """Refuse what is not one plain request; its errors are those of the parser to uvicorn."""
        if self.parser.should_upgrade():
            return  # and come again without
        self._stop_waiting()
        require_plain(self.headers, self.url, needs_host=self.parser.get_http_version() != "1.0")
        self._in_message = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Count the next header from here on; of what has come of it, no byte is known."""
        if self.parser.should_upgrade():
            return
        self._in_message = False
        self._header_bytes = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        self._drain_deadline = self.loop.call_later(self.drain_seconds, self._end)

    def resume_writing(self) -> None:
        """Go on, as the client has read."""
        self._stop_draining()
        super().resume_writing()

    def _stop_draining(self) -> None:
        if self._drain_deadline is not None:
            self._drain_deadline.cancel()
            self._drain_deadline = None

    def _expect_header(self) -> None:
        self._deadline = self.loop.call_later(self.header_seconds, self._end)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        self.transport.abort()


def without_upgrade(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The header without what asks for another protocol; names are in lower case."""
    kept = [
        (name, b",".join(part for part in value.split(b",") if part.strip().lower() != b"upgrade"))
        if name == b"connection"
        else (name, value)
        for name, value in headers
    ]
    return [(name, value) for name, value in kept if name != b"upgrade" and (name != b"connection" or value)]


def require_plain(headers: list[tuple[bytes, bytes]], url: bytes, *, needs_host: bool) -> None:
    """Hold a header, with names in lower case, against what request smuggling is made of (RFC 9112, sections 3 and 6).

    Raises:
        MalformedHeaderError: it is too long, has a length in two ways or twice, another transfer coding than chunked,
            or no or several hosts.
    """
    if len(url) + sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        raise MalformedHeaderError(f"longer than {MAX_HEADER_BYTES} bytes")
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in {b"content-length", b"transfer-encoding", b"host"}:
            found.setdefault(name, []).append(value)
    lengths, codings = found.get(b"content-length", []), found.get(b"transfer-encoding", [])
    if len(lengths) + len(codings) > 1:
        raise MalformedHeaderError("more than one length of the body")
    if codings and codings[0].strip().lower() != b"chunked":
        raise MalformedHeaderError("a transfer coding other than chunked")
    hosts = len(found.get(b"host", []))
    if hosts > 1 or (needs_host and not hosts):
        raise MalformedHeaderError("several hosts, or none")
