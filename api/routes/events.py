"""Events of the shop, as they happen."""

from collections import Counter

import orjson
from fastapi import APIRouter
from fastapi.responses import Response

from api.dependencies import CurrentEventLog
from api.problems import ProblemError, documented
from api.schemas.events import EventsRequest, EventsTaken
from api.services.event_log import BusyError, Outcome
from api.strict import StrictRoute
from cartograph.events import LogUnavailableError

RETRY_SECONDS = 1

router = APIRouter(prefix="/v1", tags=["events"], route_class=StrictRoute)


@router.post("/events", status_code=202, response_model=EventsTaken, responses=documented(404, 413, 503))
async def take_events(request: EventsRequest, log: CurrentEventLog) -> Response:
    """Take up to 1,000 clickstream events, each held against the contract of `raw/events`.

    The answer comes when those that are accepted are on the disk. Where no answer comes, or a 503, send the same
    events again: an `event_id` gets into the lake once.
    """
    try:
        outcomes = await log.submit(request.events)
    except BusyError as error:
        raise _later(
            "event-log-busy", f"{error} Nothing of this request was taken; send it again in a moment."
        ) from None
    except LogUnavailableError:  # what is wrong, and where, is the operator's to know
        raise _later(
            "event-log-unavailable",
            "The events cannot be kept now; the service's log says why. Nothing of this request was taken; send it "
            "again later.",
        ) from None
    counts = Counter(outcome.status for outcome in outcomes)
    taken = {
        "accepted": counts["accepted"],
        "repeated": counts["repeated"],
        "refused": counts["refused"],
        "events": list(map(_told, outcomes)),
    }
    return Response(orjson.dumps(taken), 202, media_type="application/json")


def _told(outcome: Outcome) -> dict[str, str | None]:
    told: dict[str, str | None] = {"event_id": outcome.event_id, "status": outcome.status}
    if outcome.reason:
        told |= {"reason": outcome.reason, "detail": outcome.detail}
    return told


def _later(kind: str, detail: str) -> ProblemError:
    error = ProblemError(503, kind, detail)
    error.headers = {"Retry-After": str(RETRY_SECONDS)}
    return error
