"""Traces of requests, sent by OpenTelemetry's protocol where `otlp_endpoint` names a collector; otherwise none.

A span tells of its request the method, the route's template, the status and the id, and goes on with the caller's
trace (W3C `traceparent`). The library is shown no more of the request than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.observability.watching import template
from cartograph.settings import Settings, SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

TRACE_HEADERS = frozenset({b"traceparent", b"tracestate"})
_WHOLE, _FAILED = "cartograph.scope", "cartograph.failed"


class Tracing:
    """Makes a span of each request."""

    def __init__(self, app: ASGIApp, provider: TracerProvider) -> None:
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        self._app = app
        self._traced = OpenTelemetryMiddleware(
            self._inner, tracer_provider=provider, default_span_details=_details, exclude_spans=["send", "receive"]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on within its span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        shown: Scope = {
            "type": "http",
            "method": scope["method"],
            "http_version": scope["http_version"],
            "scheme": scope["scheme"],
            "server": scope.get("server"),
            "path": "",
            "query_string": b"",
            "headers": [header for header in scope["headers"] if header[0] in TRACE_HEADERS],
            _WHOLE: scope,
        }
        await self._traced(shown, receive, send)
        if _FAILED in shown:
            raise shown[_FAILED]

    async def _inner(self, shown: Scope, receive: Receive, send: Send) -> None:
        from opentelemetry.trace import StatusCode, get_current_span

        scope, span = shown[_WHOLE], get_current_span()

        def describe() -> None:
            route = template(scope)
            span.update_name(f"{scope['method']} {route}")
            span.set_attribute("http.route", route)
            span.set_attribute("http.request.id", scope["state"]["request_id"])

        async def send_described(message: Message) -> None:
            if message["type"] == "http.response.start":
                describe()  # the span ends with the answer
            await send(message)

        try:
            await self._app(scope, receive, send_described)
        except Exception as error:  # noqa: BLE001 - it goes on in __call__: the library would send its message along
            describe()
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
            shown[_FAILED] = error


def exporting(settings: Settings) -> TracerProvider | None:
    """What sends spans to the collector of the settings, in batches beside the requests; None where there is none.

    Raises:
        SettingsError: an endpoint is set, and the exporter is not installed.
    """
    if settings.otlp_endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"CARTOGRAPH_OTLP_ENDPOINT={settings.otlp_endpoint}: traces need a package that is not installed "
            f"({error.name}). Install cartograph[tracing], or take the setting away."
        ) from None
    resource = Resource.create({"service.name": "cartograph-api", "deployment.environment.name": settings.env})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _details(shown: Scope) -> tuple[str, dict[str, str]]:
    return shown["method"], {}
