"""What every request passes before a route sees it: the name it calls, who asks, what they may, how often, its body.

The rules are here and nowhere else, by method and path, so that a route that is added is guarded without a word. Who
asks is found out by `services.access`; what connections must keep to, before there is a request, is `connections`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.problems import ProblemError
from api.schemas.problem import MEDIA_TYPE, InvalidPart
from api.services import json_bodies
from api.services.access import LAPTOP, Access, Denied, Principal, Unknowable, is_loopback, now_utc
from api.services.rates import Rates, Usage, address_of
from cartograph import audit, keys
from cartograph.settings import Settings

MAX_BODY_BYTES = 64 * 1024
"""Ten times what the largest sensible request about one thing takes."""
MAX_BULK_BYTES = 2 * 1024 * 1024
"""A thousand rows of features, or events."""
RECORDED_REFUSALS = 10
"""So many administrative acts that are refused to a key, for want of the scope or over its rate, each worker records in
an hour, or they would fill the disk."""
_BULK = re.compile(r"/v1/events|/v1/.*/batch")
_OPEN = frozenset({"/health", "/ready", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/dbt-docs"})
_OPEN_FOLDER = "/static-offline-docs/"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
_PROBES = frozenset({"/health", "/ready"})
_READ = {
    name.encode(): name
    for name in (
        "host",
        "authorization",
        "x-api-key",
        "content-type",
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "origin",
    )
}
_REALM = 'Bearer realm="cartograph"'
_CLOSE = {"Connection": "close"}
"""Beside an answer that was given before the body was read: what still comes of it is not waited for."""


def scope_needed(method: str, path: str) -> keys.Scope | None:
    """What a request must be allowed, None where everybody may: to read, unless a path below says otherwise."""
    if path in _OPEN or path.startswith(_OPEN_FOLDER):
        return None
    if path == "/v1/admin" or path.startswith("/v1/admin/"):
        return "admin"
    if method in _READING:
        return "read"
    return "ingest" if path == "/v1/events" else "predict"


def most_bytes(path: str) -> int:
    """How long the body of a request may be: longer where it is about many things at once."""
    return MAX_BULK_BYTES if _BULK.fullmatch(path) else MAX_BODY_BYTES


class Guard:
    """Passes on what is allowed, with its whole body read; answers all else with a problem. Who asks is then
    `request.state.principal`.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, access: Access) -> None:
        self._app = app
        self._access = access
        self._rates = Rates(settings.api_rate)
        self._hosts = settings.allowed_hosts
        self._origins = settings.cors_origins
        self._seconds = settings.api_timeout_seconds
        self._audit_log = settings.audit_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, path, headers = scope["method"], scope["path"], headers_of(scope)
        needed = scope_needed(method, path)
        principal: Principal | None = None
        usage: Usage | None = None
        status, is_allowed, is_to_record = 0, False, needed == "admin" and method not in _READING

        async def record() -> None:
            nonlocal is_to_record
            if is_to_record and principal is not None:
                is_to_record = False
                await self._record(act_of(principal, method, path, status), principal, is_allowed=is_allowed)

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if usage is not None:
                    message["headers"] = [*message["headers"], *rate_headers(usage)]
                await record()  # before the answer: whoever has that finds the record
            await send(message)

        try:
            is_open = self._is_open()
            self._require_host(headers.get("host", ""), path, is_open=is_open)
            if is_open and method not in _READING:
                self._require_own_page(headers.get("origin"))
            if needed is not None:
                try:
                    principal = LAPTOP if is_open else await self._principal(headers)
                except ProblemError as error:
                    if error.status_code == 401:  # a stranger: the address stands for a key
                        usage = self._rates.count(
                            address_of(scope["client"][0] if scope["client"] else ""), None, per="address"
                        )
                        require_within(usage)
                    raise
                if principal.is_counted:
                    usage = self._rates.count(principal.id, principal.rate)
                    require_within(usage)
                require_scope(principal, needed)
                is_allowed = True
            scope.setdefault("state", {})["principal"] = principal
            await self._answered(scope, receive, send_on, headers)
        except ProblemError as error:
            if status:  # the answer has begun: the connection ends instead
                raise
            error.headers = {**(error.headers or {}), **(_CLOSE if announces_body(headers) else {})}
            await problems.response_to(error, path)(scope, receive, send_on)
        finally:
            await record()

    async def _record(self, act: audit.Act, principal: Principal, *, is_allowed: bool) -> None:
        recorded = act if is_allowed else self._recorded_refusal(principal, act)
        if recorded is not None:
            await asyncio.to_thread(audit.record, self._audit_log, recorded)

    def _recorded_refusal(self, principal: Principal, act: audit.Act) -> audit.Act | None:
        """What is recorded of an act that was refused before it began: the first 403s and 429s of a key in an hour."""
        refusals = self._rates.count(principal.id, f"{RECORDED_REFUSALS}/hour", per="refusal")
        if refusals.is_within and not refusals.remaining:
            rest = "what else this worker refuses to this key within the hour is not recorded"
            return act.model_copy(update={"detail": f"{act.detail}; {rest}"})
        return act if refusals.is_within else None

    def _is_open(self) -> bool:
        try:
            return self._access.is_open
        except Unknowable:
            return False

    def _require_host(self, host: str, path: str, *, is_open: bool) -> None:
        """Where everybody may ask, a name of this machine: a page from elsewhere may call it by a name of its own."""
        name = name_of(host)
        if not (name in self._hosts or path in _PROBES if self._hosts else not is_open or is_loopback(name)):
            detail = "The service does not answer by this name. CARTOGRAPH_API_ALLOWED_HOSTS lists its names."
            raise ProblemError(421, "unknown-host", detail)

    def _require_own_page(self, origin: str | None) -> None:
        """Where no key is asked for, a page from elsewhere could have a browser change something in its user's name."""
        if origin is None or origin in self._origins or is_loopback(name_of(origin.partition("://")[2])):
            return
        detail = (
            "A page of another origin may not change anything here while the service is open to everybody at this "
            "machine. `cartograph keys create` makes a key; CARTOGRAPH_API_CORS_ORIGINS lists pages that may."
        )
        raise ProblemError(403, "foreign-page", detail)

    async def _principal(self, headers: Mapping[str, str]) -> Principal:
        try:
            return await self._access.principal(headers.get("authorization"), headers.get("x-api-key"))
        except Denied as error:
            challenge = {"WWW-Authenticate": _REALM}
            raise ProblemError(401, error.kind, str(error), headers=challenge) from None
        except Unknowable as error:
            raise ProblemError(503, "access-unknown", str(error), headers={"Retry-After": "5"}) from None

    async def _answered(self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str]) -> None:
        """Read the body and let the app answer, both together within the time."""
        has_all = scope["method"] not in _BODY_METHODS
        try:
            async with asyncio.timeout(self._seconds) as deadline:
                if not has_all:
                    receive = await with_body(headers, scope["path"], receive)
                    has_all = True
                await self._app(scope, receive, send)
        except TimeoutError:
            if not deadline.expired():
                raise
            if not has_all:
                detail = f"The body did not come within {self._seconds:g} seconds. Send it in one go, or less of it."
                raise ProblemError(408, "slow-request", detail) from None
            detail = f"The answer took longer than {self._seconds:g} seconds. Ask for less, or try again later."
            raise ProblemError(503, "slow-answer", detail) from None


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers that the guard reads, by lower-case name. What is sent twice is no key, host or type any more."""
    found: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = _READ.get(raw)
        if name is not None:
            found[name] = f"{found[name]}, {value.decode('latin-1')}" if name in found else value.decode("latin-1")
    return found


def require_scope(principal: Principal, needed: keys.Scope) -> None:
    """Raise a 403 problem where `principal` may not do what is needed."""
    if needed not in principal.scopes:
        has = ", ".join(sorted(principal.scopes)) or "none"
        challenge = f'{_REALM}, error="insufficient_scope", scope="{needed}"'
        raise ProblemError(
            403,
            "missing-scope",
            f"This needs the scope {needed}; {principal.name} has {has}.",
            headers={"WWW-Authenticate": challenge},
        )


def require_within(usage: Usage) -> None:
    """Raise a 429 problem where the rate is used up."""
    if not usage.is_within:
        raise ProblemError(
            429,
            "rate-exceeded",
            f"{usage.quota} requests in {usage.window} seconds are allowed. Go on in {usage.reset} seconds.",
            headers={"Retry-After": str(usage.reset)},
        )


def require_json(headers: Mapping[str, str]) -> None:
    """Raise a 415 problem where a body is anything but JSON in UTF-8 as it is."""
    kind, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    is_plain = headers.get("content-encoding", "identity").strip().lower() == "identity"
    if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"} or not is_plain:
        detail = "A body is JSON in UTF-8, not compressed: send it with `Content-Type: application/json`."
        raise ProblemError(415, "no-json", detail)


def announces_body(headers: Mapping[str, str]) -> bool:
    """Whether a body comes with the request."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


async def with_body(headers: Mapping[str, str], path: str, receive: Receive) -> Receive:
    """What a route receives in place of `receive`: the whole body, found to be fit to be parsed."""
    most = most_bytes(path)
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        raise _too_large(most)
    if announces_body(headers):
        require_json(headers)
    body = await whole_body(receive, most)
    fault = json_bodies.fault(body)
    if fault is not None:
        raise problems.invalid_request([InvalidPart(detail=f"The body {fault}.", pointer="")])
    is_given = False

    async def receive_body() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


async def whole_body(receive: Receive, most: int) -> bytes:
    """The body of up to `most` bytes; a longer one raises a 413 problem. What a client leaves unsent raises a 400."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ProblemError(400, "cut-short", "The connection ended before the body did.")
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


@lru_cache(maxsize=256)
def name_of(host: str) -> str:
    """The name in a header `Host`, in lower case and without the port; empty for what is none."""
    try:
        parts = urlsplit(f"//{host}")
        return "" if "@" in parts.netloc else parts.hostname or ""
    except ValueError:
        return ""


def rate_headers(usage: Usage) -> list[tuple[bytes, bytes]]:
    """The rate and what is left of it, as draft-ietf-httpapi-ratelimit-headers-10 writes them."""
    per = usage.per.encode()
    return [
        (b"ratelimit-policy", b'"%b";q=%d;w=%d' % (per, usage.quota, usage.window)),
        (b"ratelimit", b'"%b";r=%d;t=%d' % (per, usage.remaining, usage.reset)),
    ]


def act_of(principal: Principal, method: str, path: str, status: int) -> audit.Act:
    """What the audit log tells of an administrative request that was answered with `status`, or with none (0)."""
    outcome = "done" if 200 <= status < 400 else "refused" if 400 <= status < 500 else "failed"
    actor = f"{principal.name} ({principal.id})"
    return audit.Act(at=now_utc(), actor=actor, action=method, target=path, outcome=outcome, detail=f"status {status}")


def documented(openapi: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with how to say who asks, and with what the guard answers by itself."""
    problem = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    openapi["components"]["securitySchemes"] = {
        "key": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "A key of `cartograph keys create`.",
        },
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key, or an OIDC token where the service takes them.",
        },
    }
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            needed = scope_needed(method.upper(), path)
            if needed is not None:
                operation["security"] = [{"key": []}, {"bearer": []}]
                operation["description"] = f"{operation.get('description', '')}\n\nScope: `{needed}`.".strip()
            for status, description in answers_of(method.upper(), needed).items():
                operation["responses"].setdefault(str(status), {"description": description, **problem})
            operation["responses"] = dict(sorted(operation["responses"].items()))
    return openapi


def answers_of(method: str, needed: keys.Scope | None) -> dict[int, str]:
    """What the guard may answer to a request by `method` that needs this scope: statuses, with a word on each."""
    found = {421: "The service is called by a name that is not its own."}
    if needed is not None:
        found |= {
            401: "No key, or none that is valid.",
            403: f"The key has not the scope `{needed}`.",
            429: "More requests than the key, or an address without one, may send to one worker; `Retry-After` tells "
            "when to go on.",
            503: "The service cannot answer now.",
        }
    if method in _BODY_METHODS:
        found |= {
            400: "The request was cut short.",
            408: "The body took too long to come.",
            413: f"The body has over {MAX_BODY_BYTES // 1024} KiB, or {MAX_BULK_BYTES // 1024} KiB for many at once.",
            415: "The body is not JSON.",
            422: "The body is no sound JSON, or not what is asked for.",
        }
    return found


def _too_large(most: int) -> ProblemError:
    return ProblemError(413, "body-too-large", f"A request's body may have {most} bytes here; this one has more.")
