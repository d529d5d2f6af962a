"""Traces of requests: sent where a collector is set, with the route and never with what was asked for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from api.main import create_app
from cartograph.settings import Settings, SettingsError
from tests.api.making import publish, service

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@contextmanager
def collecting() -> Iterator[tuple[str, Queue[bytes]]]:
    """A collector of traces on this machine, and what is sent to it."""
    sent: Queue[bytes] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            sent.put(self.path.encode() + b"\n" + body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            del args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", sent
        finally:
            server.shutdown()


def spans(sent: Queue[bytes]) -> list[Any]:
    found = []
    while not sent.empty():
        path, body = sent.get().split(b"\n", 1)
        assert path == b"/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return found


def test_a_request_is_a_span_of_its_callers_trace_without_what_it_asked_for(tmp_path: Path) -> None:
    with collecting() as (url, sent):
        settings = Settings(home=tmp_path, otlp_endpoint=url)
        publish(settings)
        with service(settings) as client:
            headers = {
                "traceparent": f"00-{TRACE}-{CALLER}-01",
                "User-Agent": "jane's own",
                "Cookie": "jane@example.com",
            }
            answer = client.get("/v1/customers/C1", headers=headers)
            assert answer.status_code == 200
            client.post("/v1/predict/churn", json={"features": {"x": 1}})
        first, second = spans(sent)
    assert (first.name, second.name) == ("GET /v1/customers/{customer_id}", "POST /v1/predict/churn")
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, CALLER)
    assert second.trace_id.hex() != TRACE
    told = {one.key: one.value.string_value or one.value.int_value for one in first.attributes}
    assert told["http.route"] == "/v1/customers/{customer_id}"
    assert told["http.request.id"] == answer.headers["x-request-id"]
    assert 200 in told.values()
    assert [secret for secret in ("C1", "jane") if secret in str(first)] == []


def test_a_failed_request_is_a_span_without_the_errors_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object, customer_id: str) -> None:
        raise ValueError(f"jane is {customer_id}")

    monkeypatch.setattr("api.services.customers.Customers.find", fails)
    with collecting() as (url, sent):
        settings = Settings(home=tmp_path, otlp_endpoint=url)
        publish(settings)
        with service(settings) as client:
            assert client.get("/v1/customers/C1").status_code == 500
        (span,) = spans(sent)
    told = {one.key: one.value.string_value for one in span.attributes}
    assert told["error.type"] == "ValueError"
    assert span.status.code == span.status.STATUS_CODE_ERROR
    assert [secret for secret in ("C1", "jane") if secret in str(span)] == []


def test_an_endpoint_without_the_package_that_sends_to_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"CARTOGRAPH_OTLP_ENDPOINT=http://x.*cartograph\[tracing\]"):
        create_app(Settings(home=tmp_path, otlp_endpoint="http://x"))
