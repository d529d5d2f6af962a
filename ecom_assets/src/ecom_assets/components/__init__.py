"""Dagster Components of this code location: each kind of source that a shop file may name.

A component declares assets from a shop file's attributes; reading rows belongs in `ecom_assets.sources` and
`ecom_assets.simulator`, loading them in `ecom_assets.ingestion`.
"""

from ecom_assets.components.event_log_source import EventLogSource
from ecom_assets.components.files_source import FilesSource
from ecom_assets.components.simulator_source import SimulatorSource
from ecom_assets.components.source_component import SourceComponent

__all__ = ["EventLogSource", "FilesSource", "SimulatorSource", "SourceComponent"]
