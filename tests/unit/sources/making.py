"""Factories for tests of sources: a shop's dates, a source over a folder, files in it."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from cartograph.settings import load_settings
from cartograph.windows import Window, windows
from ecom_assets.sources import Delivery
from ecom_assets.sources.files import FilesSource
from ecom_assets.sources.files_config import files_config

SHOP = Window(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC))
MONTHS = list(windows(SHOP.start, SHOP.end, "monthly"))
HEADER = "id,product,moment,stars"
REVIEWS = (
    "SELECT id AS review_id, product AS product_id, moment AS reviewed_at, stars AS rating, _file AS _source FROM sales"
)


def review(number: int, at: str = "2024-01-15 12:00:00", **changes: str) -> str:
    """One line of a CSV file of reviews."""
    values = {"id": f"r{number}", "product": f"p{number}", "moment": at, "stars": "5"} | changes
    return ",".join(values.values())


def write_csv(path: Path, lines: Iterable[str], header: str = HEADER, encoding: str = "utf-8") -> Path:
    """A CSV file, packed where its name ends in `.gz`."""
    content = "".join(f"{line}\n" for line in (header, *lines)).encode(encoding)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def reviews_source(path: Path | str, select: str = REVIEWS, shop: Window = SHOP, **options: Any) -> FilesSource:
    """A source of reviews over one file set called `sales`; `options` are the set's."""
    return source({"sales": {"path": str(path), **options}}, {"reviews": select}, shop=shop)


def source(
    files: dict[str, Any], selects: dict[str, str], views: dict[str, str] | None = None, shop: Window = SHOP
) -> FilesSource:
    """A source of datasets over file sets."""
    config = files_config(
        {"files": files, "views": views or {}}, {dataset: {"select": select} for dataset, select in selects.items()}
    )
    return FilesSource(config, shop, load_settings(duckdb_memory_limit="500MB"))


def deliver(reader: FilesSource, dataset: str = "reviews", over: list[Window] | None = None) -> Delivery:
    """The one delivery of a dataset for `over`, by default all of the shop's months."""
    (delivery,) = reader.deliveries(dataset, over or MONTHS)
    return delivery


def ids(delivery: Delivery) -> list[str]:
    """The reviews of a delivery, sorted."""
    return sorted(delivery.rows["review_id"].to_pylist())


def column(rows: pa.Table, name: str) -> list[Any]:
    """The values of a column, sorted."""
    return sorted(rows[name].to_pylist())
