"""Immutable releases: what the asset graph trusts, in a folder with a manifest, and a pointer to the current one.

    store = open_store(settings)
    with store.creating(inputs, created_at=moment) as draft:
        (draft.path / "shop.json").write_text("…")
    folder = store.fetch(store.current_id())

This package keeps and checks files; which files a shop's release has is in `contents`, which asset writes them is in
`ml_assets`, what serves them is `api`.
"""

from cartograph.releases.errors import (
    DamagedRelease,
    NewerManifest,
    NoRelease,
    RefusedRelease,
    ReleaseError,
    StoreUnavailable,
    UnfitRelease,
    UnknownRelease,
    UntrustedRelease,
)
from cartograph.releases.manifest import CheckOutcome, FileEntry, Manifest, Override, ReleaseInputs
from cartograph.releases.opening import open_store
from cartograph.releases.store import Draft, ReleaseStore

__all__ = [
    "CheckOutcome",
    "DamagedRelease",
    "Draft",
    "FileEntry",
    "Manifest",
    "NewerManifest",
    "NoRelease",
    "Override",
    "RefusedRelease",
    "ReleaseError",
    "ReleaseInputs",
    "ReleaseStore",
    "StoreUnavailable",
    "UnfitRelease",
    "UnknownRelease",
    "UntrustedRelease",
    "open_store",
]
