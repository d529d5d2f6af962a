"""The source of events that the API takes: its form in a shop file. `ecom_assets.sources.event_log` reads the log."""

from __future__ import annotations

from cartograph.settings import get_settings
from cartograph.shops import Shop
from ecom_assets.components.source_component import SourceComponent
from ecom_assets.contracts.web import EVENTS
from ecom_assets.sources import SourceError
from ecom_assets.sources.event_log import EventLogReader, reader_of


class EventLogSource(SourceComponent):
    """Events that came by `POST /v1/events`: the whole of `events`, or beside the events of another source."""

    @property
    def kind(self) -> str:
        """Python reads the log."""
        return "python"

    def reader(self, shop: Shop) -> EventLogReader:
        """The reader of the shop's log. Raises SourceError where another dataset is asked of it."""
        others = sorted(self.datasets.keys() - {EVENTS.dataset})
        if others:
            raise SourceError(f"{shop.file}: the event log delivers {EVENTS.dataset} and not {', '.join(others)}.")
        return reader_of(get_settings(), shop.span)
