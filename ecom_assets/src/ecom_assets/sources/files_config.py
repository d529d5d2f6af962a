"""What a shop's file may say about a source of files: where they are, how they are written, how they map to datasets.

The form and its errors only. Reading files is in `landing` and `formats`, running the selects in `files`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from ecom_assets.contracts import CONTRACTS
from ecom_assets.sources import SourceError

Format = Literal["csv", "jsonl", "parquet"]

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileSet(_Form):
    """Files of one form. A select reads them as a table with their columns, `_file` and `_line`.

    CSV and JSON lines give text in every column, so that a value that cannot be read is seen and not guessed; Parquet
    keeps its types. Files whose name ends in `.gz` are unpacked. `_line` is where a row begins in the file; in Parquet,
    its number.
    """

    path: str = Field(min_length=1, description="A glob: `data/orders/*.csv.gz`, `s3://bucket/orders/**/*.parquet`.")
    format: Format | None = Field(None, description="Unset: by the ending of `path`.")
    encoding: str = Field("utf-8", description="Of CSV and JSON lines: utf-8, latin-1, cp1252, utf-16 …")
    delimiter: str = Field(",", min_length=1, max_length=1, description="Between the values of a CSV row.")
    quote: str = Field('"', min_length=1, max_length=1, description="Around a CSV value that holds a delimiter.")
    null_values: tuple[str, ...] = Field(("",), description="CSV values that mean: not there.")
    columns: tuple[str, ...] = Field((), description="The columns of CSV files that have no header row.")
    optional_columns: tuple[str, ...] = Field((), description="Columns that a file may lack; they are null then.")
    date_formats: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Column to strptime format, or several: `%d/%m/%Y %H:%M`. It becomes an ISO date and time.",
    )

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)  # base64 and rot13 are codecs, too, but no encodings of text
            return codecs.lookup(value).name
        except (LookupError, ValueError):
            raise ValueError(f"{value!r} is not an encoding; take utf-8, latin-1, cp1252, utf-16 or the like") from None

    @field_validator("delimiter", "quote")
    @classmethod
    def _one_byte(cls, value: str) -> str:
        if not value.isascii():
            raise ValueError(
                f"{value!r} is not one of ASCII's characters, and no other can part the values of a CSV row"
            )
        return value

    @field_validator("date_formats", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {column: (formats,) if isinstance(formats, str) else formats for column, formats in value.items()}

    @model_validator(mode="after")
    def _format_is_clear(self) -> FileSet:
        if self.format is None and self._by_suffix() is None:
            raise ValueError(
                f"the ending of {self.path!r} does not tell the format; set `format` to csv, jsonl or parquet"
            )
        return self

    @property
    def resolved_format(self) -> Format:
        """The format that is read: `format`, or that of the path's ending."""
        return self.format or self._by_suffix() or "csv"

    def _by_suffix(self) -> Format | None:
        path = self.path.lower().removesuffix(".gz")
        return next((form for suffix, form in _SUFFIXES.items() if path.endswith(suffix)), None)


class DatasetSelect(_Form):
    """How one dataset is made: a DuckDB SELECT over the file sets and views, with the contract's column names.

    Values may be left as text: the contract types them. A column `_source` says where a row came from; without it, the
    names of the file sets do.
    """

    select: str = Field(min_length=1)


class FilesConfig(_Form):
    """A source of files: its file sets, selects that several datasets build on, and a select for each dataset."""

    files: dict[str, FileSet] = Field(min_length=1)
    views: dict[str, str] = Field(default_factory=dict, description="Name to SELECT; a view may use those above it.")
    datasets: dict[str, DatasetSelect] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_clear(self) -> FilesConfig:
        for name in (*self.files, *self.views):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a name: lower-case letters, digits and underscores, a letter first")
        both = sorted(set(self.files) & set(self.views))
        if both:
            raise ValueError(f"{', '.join(both)} names a file set and a view")
        unknown = sorted(set(self.datasets) - set(CONTRACTS))
        if unknown:
            raise ValueError(f"no dataset is called {', '.join(unknown)}; datasets are {', '.join(CONTRACTS)}")
        return self


def _in_words(problem: ErrorDetails) -> str:
    if problem["type"] != "extra_forbidden":
        return problem["msg"].removeprefix("Value error, ")
    place = problem["loc"][0] if len(problem["loc"]) > 1 else ""
    forms: dict[str, type[BaseModel]] = {"files": FileSet, "datasets": DatasetSelect}
    form = forms.get(str(place), FilesConfig)
    return f"there is no such attribute; it takes {', '.join(form.model_fields)}"


def files_config(attributes: Mapping[str, Any], datasets: Mapping[str, Any]) -> FilesConfig:
    """The form of a shop file's `attributes` (`files` and `views`) and `datasets`.

    Raises:
        SourceError: something is missing or cannot be used; the message names each place.
    """
    try:
        return FilesConfig.model_validate({**attributes, "datasets": dict(datasets)})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'source'}: {_in_words(problem)}" for problem in error.errors()
        )
        raise SourceError(f"The FilesSource of the shop's file cannot be used: {problems}.") from None
