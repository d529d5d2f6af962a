"""The event log: what the service took by `POST /v1/events`, durable before it is acknowledged, until the lake has it.

The log's form in files, writing, reading and rewriting it belong here, for the service that writes and the graph that
reads. What a good event is says its contract (`ecom_assets.contracts.web`), and who may send one the service. A queue
such as Kafka comes behind the same two ends: an `EventSink` to append to, and `segments` or a `Follower` to read from.
"""

from cartograph.events.following import Follower
from cartograph.events.framing import Event
from cartograph.events.reading import Segment, read, segments
from cartograph.events.rewriting import recover, remove, removed, rewrite
from cartograph.events.writing import EventSink, LogUnavailableError, SegmentWriter

__all__ = [
    "Event",
    "EventSink",
    "Follower",
    "LogUnavailableError",
    "Segment",
    "SegmentWriter",
    "read",
    "recover",
    "remove",
    "removed",
    "rewrite",
    "segments",
]
