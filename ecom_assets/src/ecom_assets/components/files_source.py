"""The source that reads files: its form in a shop file. How files are read belongs in `ecom_assets.sources.files`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from cartograph.settings import get_settings
from cartograph.shops import Shop
from ecom_assets.components.source_component import SourceComponent
from ecom_assets.sources import SourceError
from ecom_assets.sources.files import FilesSource as FilesReader
from ecom_assets.sources.files_config import files_config


class FilesSource(SourceComponent):
    """CSV, JSON lines and Parquet files, local or on S3; each dataset is a SELECT over them."""

    files: dict[str, Any] = Field(description="The file sets by name: a glob, or path, format, delimiter, encoding, …")
    views: dict[str, str] = Field(default_factory=dict, description="SELECTs by name that datasets may read from.")

    @property
    def kind(self) -> str:
        """DuckDB reads the files."""
        return "duckdb"

    def reader(self, shop: Shop) -> FilesReader:
        """The reader of the file sets; it looks at the files when it is asked for rows."""
        settings = get_settings()
        try:
            config = files_config({"files": self.files, "views": self.views}, self.datasets)
        except SourceError as error:
            raise SourceError(f"{shop.file}: {error}") from None
        return FilesReader(config, shop.span, settings)
