"""Finds and opens files on disk and S3 by glob.

Where files are and whether they changed; what stands in them is the work of `formats`.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import fsspec
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow.fs import S3FileSystem

from cartograph.settings import Settings
from ecom_assets.sources import SourceError

_MAGIC = re.compile(r"[*?\[]")
_ENDING = re.compile(r"\.\w+$")


@dataclass(frozen=True)
class FoundFile:
    """A file. `name` is its path below the fixed part of the glob; `fingerprint` differs where its content does."""

    path: str
    name: str
    fingerprint: str


class FileStore:
    """The files under one glob, on disk or S3 (address and region from the settings, credentials from AWS's chain)."""

    def __init__(self, glob: str, settings: Settings) -> None:
        if glob.startswith("s3://"):
            self._files = ArrowFSWrapper(
                S3FileSystem(region=settings.s3_region, endpoint_override=settings.s3_endpoint_url)
            )
            self.glob = glob.removeprefix("s3://")
            self._scheme = "s3://"
        else:
            self._files = fsspec.filesystem("file")
            self.glob = os.path.abspath(Path(glob).expanduser())  # noqa: PTH100 - `..` is to be folded, links are not
            self._scheme = ""
        magic = _MAGIC.search(self.glob)
        self._folder = posixpath.dirname(self.glob[: magic.start()] if magic else self.glob)
        self._has_ending = magic is not None and bool(_ENDING.search(self.glob))

    def list(self) -> list[FoundFile]:
        """The files that fit now, by name; names that begin with a dot are left out, as temporary files do.

        Where the glob asks for an ending, as `*.csv` does, what has it and is no file is among them: it was meant to be
        read, and is told as unreadable.

        Raises:
            SourceError: none fits; the message says what stands in the folder instead.
        """
        try:
            found = self._files.glob(self.glob, detail=True)
            files = [
                FoundFile(path, path.removeprefix(self._folder).lstrip("/"), _fingerprint(info))
                for path, info in sorted(found.items())
                if (info["type"] == "file" or self._has_ending) and not posixpath.basename(path).startswith(".")
            ]
            if files:
                return files
            raise SourceError(f"No file fits {self._scheme}{self.glob}: {self._instead()} Correct the source's `path`.")
        except OSError as error:
            raise SourceError(
                f"{self._scheme}{self.glob} cannot be listed: {error}. "
                "Check the path, the permissions and, for S3, the credentials."
            ) from None

    def open(self, file: FoundFile) -> BinaryIO:
        """The file's bytes. Raises OSError where it is gone or may not be read."""
        return cast(BinaryIO, self._files.open(file.path, "rb"))

    def _instead(self) -> str:
        folder = f"{self._scheme}{self._folder}"
        if not self._files.isdir(self._folder):
            return f"the folder {folder} does not exist."
        if self._files.isdir(self.glob):
            return f"it is a folder; name the files in it, e.g. {self._scheme}{self.glob}/*.csv."
        names = sorted(posixpath.basename(path) for path in self._files.ls(self._folder, detail=False))
        if not names:
            return f"the folder {folder} is empty."
        return f"of {len(names):,} in the folder {folder} none fits, e.g. {', '.join(names[:3])}."


def _fingerprint(info: dict[str, object]) -> str:
    return f"{info['size']} {info.get('mtime')} {info.get('ino')}"
