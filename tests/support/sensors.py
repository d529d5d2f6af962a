"""An alerts sensor on real runs: assets, a job over them, and a shop's instance, which can be opened anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Self

import dagster as dg

from cartograph.cli.instance import open_instance, prepare_home
from cartograph.settings import Settings
from cartograph.trust.alerting import ALERTS_KEY, alerts_sensor


class SensorBench:
    """Executes `nightly_job`, which leaves out the assets `by_hand`, and evaluates the sensor as the daemon does."""

    def __init__(
        self, settings: Settings, assets: Sequence[dg.AssetsDefinition], by_hand: Sequence[dg.AssetsDefinition] = ()
    ) -> None:
        self.settings = settings
        self.definitions = dg.Definitions(
            assets=[*assets, *by_hand],
            jobs=[dg.define_asset_job("nightly_job", selection=dg.AssetSelection.assets(*assets))],
            sensors=[alerts_sensor("test_alerts_sensor", team="team:platform")],
        )
        prepare_home(settings)

    def __enter__(self) -> Self:
        self._opened = ExitStack()
        self.instance = self._opened.enter_context(open_instance(self.settings))
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def restart(self) -> None:
        """Open the instance anew, as another process does."""
        self.__exit__()
        self.__enter__()

    def execute(self, job_name: str = "nightly_job", **how: Any) -> None:
        """Run a job, or with `asset_selection` some assets only."""
        definitions, selected = self.definitions, "asset_selection" in how
        job = definitions.resolve_implicit_global_asset_job_def() if selected else definitions.resolve_job_def(job_name)
        job.execute_in_process(instance=self.instance, raise_on_error=False, **how)

    def look(self) -> list[str]:
        """Titles of the events that the sensor reports."""
        repository = self.definitions.get_repository_def()
        context = dg.build_sensor_context(instance=self.instance, repository_def=repository)
        found = self.definitions.get_sensor_def("test_alerts_sensor")(context)
        if isinstance(found, dg.SkipReason):
            return []
        assert {event.asset_key for event in found.asset_events} == {ALERTS_KEY}
        return [event.description for event in found.asset_events]

    def logged(self) -> list[dict[str, Any]]:
        """The messages in the log of alerts."""
        return [json.loads(line) for line in self.settings.alerts_log.read_text(encoding="utf-8").splitlines()]
