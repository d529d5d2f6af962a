"""Lineage: what a release is made of."""

from __future__ import annotations

from cartograph.releases.contents.base import Content


class LineageNode(Content):
    """An asset and what it is made of. The snapshots are in the manifest: the same rows make the same release."""

    key: str
    upstream: tuple[str, ...]


class Lineage(Content):
    """`lineage.json`: all assets that the release is made of, by key. What is upstream and not named is a source."""

    assets: tuple[LineageNode, ...]
