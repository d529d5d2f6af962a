"""The file of alerts: the sinks there are, and which of them is told what.

    sinks:
      team_chat: {type: webhook, url: "${CARTOGRAPH_TEAM_CHAT_URL}"}
      on_call: {type: email, host: smtp.example.com, sender: a@example.com, recipients: [b@example.com]}
    routes:                              # the first that matches decides
      - {owners: ["team:analytics"], severities: [error], sinks: [team_chat, on_call]}
      - {sinks: [team_chat]}

The log file takes every message, with or without such a file.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cartograph.alerts.messages import Message, Severity
from cartograph.alerts.sinks import AnySink, LogFile, Sink
from cartograph.settings import Settings
from cartograph.yaml_files import YamlFileError, read_yaml

LOG = "log"


class AlertsError(ValueError):
    """The file of alerts cannot be used. The message names it, what is wrong and the cure."""


class Route(BaseModel):
    """Which messages go to `sinks`: those of some owners and severities; of all where none are given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owners: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()
    sinks: tuple[str, ...]

    def takes(self, message: Message) -> bool:
        """Whether the route is meant for `message`."""
        return (not self.owners or message.owner in self.owners) and (
            not self.severities or message.severity in self.severities
        )


class AlertsConfig(BaseModel):
    """The sinks by name, and the routes to them, the first that takes a message deciding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sinks: dict[str, AnySink] = Field(default_factory=dict)
    routes: tuple[Route, ...] = ()

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> AlertsConfig:
        if LOG in self.sinks:
            raise ValueError(f"call the sink {LOG!r} otherwise: that name is the log file's")
        named = {sink for route in self.routes for sink in route.sinks}
        if unknown := sorted(named - self.sinks.keys()):
            raise ValueError(f"routes name sinks that there are not: {', '.join(unknown)}")
        if unused := sorted(self.sinks.keys() - named):
            raise ValueError(f"no route leads to {', '.join(unused)}")
        return self

    def route(self, message: Message) -> tuple[str, ...]:
        """The names of the sinks that `message` goes to."""
        return (LOG, *next((route.sinks for route in self.routes if route.takes(message)), ()))

    def all_sinks(self, settings: Settings) -> Mapping[str, Sink]:
        """All sinks by name, with the log file."""
        return {LOG: LogFile(settings.alerts_log), **self.sinks}


def load_alerts(settings: Settings) -> AlertsConfig:
    """What the file of alerts says; without one, messages go to the log file only.

    Raises:
        AlertsError: the file is not there or does not have the form of one.
    """
    if settings.alerts_file is None:
        return AlertsConfig()
    try:
        return AlertsConfig(**read_yaml(settings.alerts_file, "a mapping with sinks and routes"))
    except YamlFileError as error:
        raise AlertsError(str(error)) from None
    except ValidationError as error:
        problems = "; ".join(
            ": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, "))))
            for e in error.errors()
        )
        raise AlertsError(f"{settings.alerts_file} cannot be used: {problems}") from None
