"""Which store the settings ask for. The stores themselves are `folder` and `s3`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cartograph.releases.folder import FolderStore
from cartograph.releases.signing import KeyFileError, Signer, TrustedKeys
from cartograph.releases.store import ReleaseStore
from cartograph.settings import Settings, SettingsError

_S3 = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]+)(?:/(?P<prefix>.*?))?/*")


def open_store(settings: Settings, s3_client: Any | None = None) -> ReleaseStore:
    """The releases of the chosen shop, in the folder or the S3 place that the settings name.

    `s3_client` is a boto3 S3 client to use instead of one made from the settings. But for the files of keys, nothing is
    read or written yet.

    Raises:
        SettingsError: CARTOGRAPH_RELEASE_URI is neither a folder nor an S3 address, or a file of keys cannot be used.
    """
    uri = settings.resolved_release_uri
    signer, trusted = _keys(settings)
    if "://" not in uri:
        return FolderStore(Path(uri).expanduser().absolute(), signer, trusted)
    match = _S3.fullmatch(uri)
    if match is None:
        raise SettingsError(f"CARTOGRAPH_RELEASE_URI={uri}: releases are kept in a folder or in s3://bucket/prefix.")
    # Imported only here: boto3 costs 100 ms, which no local run has to pay.
    import boto3

    from cartograph.releases.s3 import S3Store

    client = s3_client or boto3.client("s3", endpoint_url=settings.s3_endpoint_url, region_name=settings.s3_region)
    cache = settings.shop_home / "releases"
    return S3Store(client, match["bucket"], match["prefix"] or "", cache, signer=signer, trusted=trusted)


def _keys(settings: Settings) -> tuple[Signer | None, TrustedKeys | None]:
    private, public = settings.release_signing_key, settings.release_trusted_keys
    try:
        signer = Signer.from_file(private) if private else None
    except KeyFileError as error:
        raise SettingsError(f"CARTOGRAPH_RELEASE_SIGNING_KEY={private}: {error}") from None
    try:
        trusted = TrustedKeys.from_file(public) if public else None
    except KeyFileError as error:
        raise SettingsError(f"CARTOGRAPH_RELEASE_TRUSTED_KEYS={public}: {error}") from None
    if signer and trusted and signer.key_id not in trusted:
        raise SettingsError(
            f"CARTOGRAPH_RELEASE_SIGNING_KEY={private}: its public half ({signer.key_id}) is not in the file of "
            f"CARTOGRAPH_RELEASE_TRUSTED_KEYS, {public}: what is released here would not be taken. Append it there."
        )
    return signer, trusted
