"""Signatures of releases: an Ed25519 key (RFC 8032) says who published one, which checksums alone cannot.

The signature stands in the manifest and is over all else in it, the checksums of the files included. Whoever can write
to the place of the releases, but does not have the private key, cannot make one that is taken where keys are trusted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from cartograph.releases.errors import DamagedRelease, ReleaseError, UntrustedRelease

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = "signature"
"""The member of the manifest."""
_PURPOSE = b"cartograph release 1\n"  # so that a signature made for something else is none of a release
_END = "-----END PUBLIC KEY-----"


class KeyFileError(ReleaseError):
    """A file of keys cannot be used. The message names it and the cure."""


class Signature(BaseModel):
    """Who signed, as the first 16 hex digits of the SHA-256 of the public key, and the signature in base64."""

    model_config = ConfigDict(frozen=True)

    key_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    value: str = Field(max_length=200)


class Signer:
    """Signs manifests with a private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = _key_id(key.public_key())

    @classmethod
    def from_file(cls, path: Path) -> Signer:
        """The signer whose private key is in the PEM file `path`, without a password.

        Raises:
            KeyFileError: the file cannot be read, or holds no Ed25519 private key.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise KeyFileError(f"{path} cannot be read as a private key ({type(error).__name__}). {_MAKE}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{path} holds a key that is not Ed25519. {_MAKE}")
        return cls(key)

    def sign(self, manifest: Mapping[str, Any]) -> Signature:
        """The signature of a manifest, given as the content of its file."""
        value = base64.b64encode(self._key.sign(_statement(manifest))).decode()
        return Signature(key_id=self.key_id, value=value)


class TrustedKeys:
    """The public keys whose releases are taken, by their ids."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = dict(keys)

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._keys

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys, sorted."""
        return tuple(sorted(self._keys))

    @classmethod
    def from_file(cls, path: Path) -> TrustedKeys:
        """The public keys of the PEM file `path`, one after the other: while a key is replaced, the old and the new.

        Raises:
            KeyFileError: the file cannot be read, or holds no key, or one that is not Ed25519.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        keys = {}
        try:
            blocks = [block for block in path.read_text(encoding="utf-8").split(_END) if block.strip()]
            for block in blocks:
                key = load_pem_public_key(f"{block.strip()}\n{_END}\n".encode())
                if not isinstance(key, Ed25519PublicKey):
                    raise KeyFileError(f"{path} holds a key that is not Ed25519. {_MAKE}")
                keys[_key_id(key)] = key
        except KeyFileError:
            raise
        except (OSError, ValueError) as error:
            raise KeyFileError(f"{path} cannot be read as public keys ({type(error).__name__}). {_MAKE}") from None
        if not keys:
            raise KeyFileError(f"{path} holds no public key. {_MAKE}")
        return cls(keys)

    def check(self, raw: bytes, where: str) -> None:
        """Hold the signature in the manifest `raw` against the keys; `where` names the manifest in messages.

        Raises:
            UntrustedRelease: there is no signature, or none of these keys made it for this manifest.
            DamagedRelease: it cannot be read.
        """
        from cryptography.exceptions import InvalidSignature

        manifest = _members(raw, where)
        found = manifest.get(SIGNATURE)
        if found is None:
            raise UntrustedRelease(f"{where} is not signed, and only signed releases are taken here. {_SIGN}")
        try:
            signature = Signature.model_validate(found)
            value = base64.b64decode(signature.value, validate=True)
        except (ValueError, binascii.Error):
            raise UntrustedRelease(f"{where} has a signature that cannot be read. {_SIGN}") from None
        key = self._keys.get(signature.key_id)
        if key is None:
            raise UntrustedRelease(
                f"{where} is signed by the key {signature.key_id}, and trusted are {', '.join(self.ids)}. {_SIGN}"
            )
        try:
            key.verify(value, _statement(manifest))
        except InvalidSignature:
            raise UntrustedRelease(
                f"{where} is not what the key {signature.key_id} has signed: it was changed. {_SIGN}"
            ) from None


def generate(path: Path) -> str:
    """Write a new private key to `path`, for its owner only, and its public key beside it as `<path>.pub`; its id.

    Raises:
        KeyFileError: one of the files is there already: a key that releases are signed with is never overwritten.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key, public = Ed25519PrivateKey.generate(), path.with_name(f"{path.name}.pub")
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    shared = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for file, content, mode in ((path, private, 0o600), (public, shared, 0o644)):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            raise KeyFileError(f"{file} is there already. Take another name, or delete it.") from None
        except OSError as error:
            raise KeyFileError(f"{file} cannot be written: {error.strerror}.") from None
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
    return _key_id(key.public_key())


_MAKE = "`cartograph release keygen FILE` makes a key, and FILE.pub beside it."
_SIGN = (
    "Publish it again where CARTOGRAPH_RELEASE_SIGNING_KEY names a key whose public half is in the file of "
    "CARTOGRAPH_RELEASE_TRUSTED_KEYS here."
)


def _statement(manifest: Mapping[str, Any]) -> bytes:
    # Of the file's own members and not of those that this version knows: a later one may have more, signed as well.
    rest = {name: value for name, value in manifest.items() if name != SIGNATURE}
    return _PURPOSE + json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _members(raw: bytes, where: str) -> dict[str, Any]:
    try:
        manifest = json.loads(raw, object_pairs_hook=_once)
    except ValueError as error:
        raise DamagedRelease(f"{where} is damaged: {error}.") from None
    if not isinstance(manifest, dict):
        raise DamagedRelease(f"{where} is damaged: it is no object.")
    return manifest


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of a member that is there twice, another reader might take the other one than was signed.
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a member is there twice")
    return found


def _key_id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]
