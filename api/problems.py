"""How an error becomes a problem document: the handlers of the application, and the exception that routes raise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from api.schemas.problem import MEDIA_TYPE, InvalidPart, Problem

# What one request may get wrong at a time; more would let a small request ask for a large answer.
_SHOWN_ERRORS = 20
_SHOWN_CHARACTERS = 200
REQUEST_ID_HEADER = "X-Request-ID"
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ProblemError(HTTPException):
    """Ends a request with a problem of this `kind` (a slug), which also gives it its title."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        errors: Sequence[InvalidPart] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.kind = kind
        self.errors = list(errors)


def install(app: FastAPI) -> None:
    """Make `app` answer every error with a problem document."""
    app.exception_handler(HTTPException)(_on_http_error)
    app.exception_handler(RequestValidationError)(_on_invalid_request)
    app.exception_handler(Exception)(_on_unexpected_error)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these error statuses."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


def with_problem_media_type(openapi: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with errors under their own media type, where FastAPI has that of the answer."""
    for path in openapi["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    (schema,) = response["content"].values()
                    response["content"] = {MEDIA_TYPE: schema}
    return openapi


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """`problem` as an HTTP response."""
    return JSONResponse(problem.model_dump(exclude_none=True), problem.status, headers, MEDIA_TYPE)


def pointer(parts: Sequence[str | int]) -> str:
    """The JSON pointer (RFC 6901) to a part of the body, fit to be shown: short, and without lone surrogates."""
    escaped = ("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return "".join(escaped).encode(errors="backslashreplace").decode()[:_SHOWN_CHARACTERS]


def invalid_request(errors: Sequence[InvalidPart], advice: str = "") -> ProblemError:
    """The problem of a request that is wrong in the parts that `errors` names."""
    more = f" The first {_SHOWN_ERRORS} are shown." if len(errors) > _SHOWN_ERRORS else ""
    count = f"{len(errors)} {'part of the request is' if len(errors) == 1 else 'parts of the request are'} wrong"
    return ProblemError(422, "invalid-request", f"{count}; see errors.{more}{advice}", errors[:_SHOWN_ERRORS])


def response_to(error: ProblemError, path: str) -> Response:
    """The HTTP response to a request of `path` that ends with `error`."""
    problem = Problem(
        type=f"urn:cartograph:problem:{error.kind}",
        title=error.kind.replace("-", " ").capitalize(),
        status=error.status_code,
        detail=error.detail,
        instance=path,
        errors=error.errors,
    )
    return problem_response(problem, error.headers)


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    path = request.scope["path"]  # the URL is made of the header Host, too, which may be no name
    if error.status_code == 400 and error.__cause__:  # FastAPI could not parse the body, and not for JSON's syntax
        error = invalid_request([InvalidPart(detail=_unreadable(error.__cause__), pointer="")])
    if isinstance(error, ProblemError):
        return response_to(error, path)
    phrase = HTTPStatus(error.status_code).phrase
    about = f"{request.method} {path}: {error.detail}. What there is: /docs and /openapi.json."
    problem = Problem(title=phrase, status=error.status_code, detail=about, instance=path)
    return problem_response(problem, error.headers)


async def _on_invalid_request(request: Request, error: RequestValidationError) -> Response:
    return await _on_http_error(request, invalid_request([_invalid_part(found) for found in error.errors()]))


async def _on_unexpected_error(request: Request, _: Exception) -> Response:
    phrase = HTTPStatus.INTERNAL_SERVER_ERROR.phrase
    detail = (
        "The service failed at this request; its log says why, by the id in the header X-Request-ID. Nothing is wrong "
        "with the request."
    )
    problem = Problem(title=phrase, status=500, detail=detail, instance=request.scope["path"])
    request_id = request.scope.get("state", {}).get("request_id")
    about = {REQUEST_ID_HEADER: request_id} if request_id else {}
    return problem_response(problem, {**SECURITY_HEADERS, **about})


def _unreadable(cause: BaseException) -> str:
    if isinstance(cause, UnicodeDecodeError):
        return "the body is not text in UTF-8"
    return "the body is nested too deeply" if isinstance(cause, RecursionError) else "the body has a number too long"


def _invalid_part(found: Any) -> InvalidPart:
    place, *rest = found["loc"]
    if place == "body":
        where = [] if found["type"] == "json_invalid" else rest
        return InvalidPart(detail=found["msg"], pointer=pointer(where))
    return InvalidPart(detail=found["msg"], parameter=str(rest[-1]))
