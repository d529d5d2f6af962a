"""The metrics of the service, for Prometheus."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.dependencies import CurrentServing
from api.observability.metrics import Served, exposition
from api.services.event_log import EventLog, NoEventLogError

router = APIRouter(tags=["service"])


class Exposition(Response):
    """Prometheus's text format."""

    media_type = CONTENT_TYPE_LATEST


@router.get("/metrics", response_class=Exposition)
def get_metrics(request: Request, serving: CurrentServing) -> Exposition:
    """Requests and their times by route, scores by model, events, the release and its age, and the process."""
    log: EventLog | NoEventLogError = request.app.state.event_log
    log_bytes = log.size() if isinstance(log, EventLog) else None
    served = Served(serving.state, datetime.now(UTC), refused=serving.refused, log_bytes=log_bytes)
    return Exposition(exposition(served))
