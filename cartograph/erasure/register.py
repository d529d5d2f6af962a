"""The register of erasures: who must not come back, told by keyed hashes alone.

It lies in the shop's folder, because ingestion needs it for ever: a source goes on delivering its old files. It names
nobody: a customer is the HMAC-SHA256 (RFC 2104) of the id, under a random key that only this home has. Reading,
adding and hashing belong here; what becomes of rows is `ecom_assets.erasure`.
"""

from __future__ import annotations

import hmac
import re
import secrets
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cartograph import durable
from cartograph.settings import Settings

ERASED = "erased-"
"""How each pseudonym begins, of a customer or of a device."""
_KEY_BYTES = 32
_SHORT = re.compile(r"\d{1,8}|.{1,5}", re.DOTALL)


class ErasureError(ValueError):
    """A customer cannot be erased, or the register cannot be used. The message has the cause and the cure."""


class Erasure(BaseModel):
    """One erased customer.

    `customer` and `identifiers` are keyed hashes, of the id and of what only this customer had: e-mail addresses,
    telephone numbers, devices, cards. `rows` counts the rows that held the customer, by lake table; `totals` are the
    published totals before. `finished_at` is None until nothing was left.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    customer: str
    pseudonym: str
    identifiers: frozenset[str]
    reason: str = Field(min_length=3, max_length=500)
    by: str
    begun_at: AwareDatetime
    rows: dict[str, int]
    totals: dict[str, str]
    finished_at: AwareDatetime | None = None


_ENTRIES = TypeAdapter(tuple[Erasure, ...])


class Register:
    """The erasures of one shop, in the folder `erasures` of its home; one process writes it, under the run lock."""

    def __init__(self, folder: Path) -> None:
        self._key_path, self._path = folder / "key", folder / "register.json"
        self._take(self._read())
        self._key = self._read_key() if self.entries else b""

    @classmethod
    def of(cls, settings: Settings) -> Register:
        """The register of the chosen shop.

        Raises:
            ErasureError: it is damaged, or its key is gone.
        """
        return cls(settings.shop_home / "erasures")

    @property
    def pseudonyms(self) -> list[str]:
        """The names that the erased customers have now."""
        return sorted(self._pseudonyms)

    def digest(self, value: str) -> str:
        """The keyed hash of `value`, in hex. The key is made at the first use."""
        if not self._key:
            self._key = self._make_key()
        return hmac.digest(self._key, value.encode(), "sha256").hex()

    def find(self, customer: str) -> Erasure | None:
        """The erasure of the customer with this id, where there is one."""
        wanted = self.digest(customer)
        return next((entry for entry in self.entries if entry.customer == wanted), None)

    def pseudonym(self, customer: str) -> str | None:
        """What an erased customer is called now; a pseudonym is its own. None for everyone else."""
        if customer.startswith(ERASED):
            return customer if customer in self._pseudonyms else None
        return self._customers.get(self.digest(customer))

    def alias(self, value: str) -> str:
        """What stands for `value` in a column that cannot be empty: the same for the same value, also tomorrow."""
        return value if value.startswith(ERASED) else ERASED + self.digest(value)[:16]

    def is_known(self, value: str) -> bool:
        """Whether `value` identifies an erased customer, wherever it stands."""
        if not is_telling(value):
            return False
        digest = self.digest(value)
        return digest in self._customers or digest in self._identifiers

    def record(self, erasure: Erasure) -> None:
        """Add an erasure, or replace that of the same customer, durably."""
        others = (entry for entry in self.entries if entry.customer != erasure.customer)
        entries = tuple(sorted((*others, erasure), key=lambda entry: entry.begun_at))
        durable.replace(self._path, _ENTRIES.dump_json(entries, indent=2))
        self._take(entries)

    def _take(self, entries: tuple[Erasure, ...]) -> None:
        self.entries = entries
        self._customers = {entry.customer: entry.pseudonym for entry in entries}
        self._pseudonyms = frozenset(self._customers.values())
        self._identifiers = frozenset[str]().union(*(entry.identifiers for entry in entries))

    def _read(self) -> tuple[Erasure, ...]:
        if not self._path.is_file():
            return ()
        try:
            return _ENTRIES.validate_json(self._path.read_bytes())
        except (ValidationError, OSError) as error:
            raise ErasureError(
                f"The register of erasures {self._path} cannot be read: {error}. Put it back from a backup: without it "
                "a load would bring erased customers back, so nothing is loaded."
            ) from None

    def _read_key(self) -> bytes:
        try:
            key = bytes.fromhex(self._key_path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            key = b""
        if len(key) != _KEY_BYTES:
            raise ErasureError(
                f"{self._key_path} is missing or damaged. Put it back from a backup: without it the customers of "
                f"{self._path.name} cannot be told from others and a load would bring them back, so nothing is loaded."
            )
        return key

    def _make_key(self) -> bytes:
        if not self._key_path.is_file():
            durable.replace(self._key_path, secrets.token_hex(_KEY_BYTES).encode())
        return self._read_key()


def is_telling(value: str) -> bool:
    """Whether a value is long enough to mean the same wherever it stands: any figure may equal a short number."""
    return _SHORT.fullmatch(value) is None


def new_pseudonym() -> str:
    """A name for a customer that tells nothing."""
    return ERASED + secrets.token_hex(8)
