"""An HTTP server on this machine that keeps what is posted to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any, NamedTuple


class Posted(NamedTuple):
    """One request: its headers, and its body as JSON."""

    headers: dict[str, str]
    body: Any


class Receiver:
    """Answers each request with `status`, and keeps it in `received`."""

    def __init__(self) -> None:
        self.status = 200
        self.received: Queue[Posted] = Queue()
        self.url = ""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that answers as long as the block lasts."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.received.put(Posted(dict(self.headers), body))
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            del args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hooks/secret-token"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield receiver
        finally:
            server.shutdown()
