"""The metrics of the service, for Prometheus."""

from datetime import UTC, datetime

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.dependencies import CurrentState
from api.observability.metrics import exposition

router = APIRouter(tags=["service"])


class Exposition(Response):
    """Prometheus's text format."""

    media_type = CONTENT_TYPE_LATEST


@router.get("/metrics", response_class=Exposition)
def get_metrics(state: CurrentState) -> Exposition:
    """Requests and their times by route, scores by model, the release and its age, and the process, for Prometheus."""
    return Exposition(exposition(state, datetime.now(UTC)))
