"""Factories for tests of erasure: a register with one erased customer, and a lake's worth of what is wanted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cartograph.erasure import Erasure, Register, Wanted

ADA, PSEUDONYM, EMAIL, BROWSER = "C00000017", "erased-0123456789abcdef", "ada@example.com", "v_ada_phone"
WANTED = Wanted(frozenset({ADA}), frozenset({EMAIL}), {"first_name": frozenset({"Ada"})})


def erase_ada(folder: Path, **changes: Any) -> Register:
    """A register in `folder` in which Ada is erased, with her address and browser."""
    register = Register(folder)
    entry = {
        "customer": register.digest(ADA),
        "pseudonym": PSEUDONYM,
        "identifiers": frozenset(map(register.digest, (EMAIL, BROWSER))),
        "reason": "request 17",
        "by": "tests",
        "begun_at": datetime(2024, 5, 1, tzinfo=UTC),
        "rows": {"raw.orders": 2},
        "totals": {},
    }
    register.record(Erasure(**{**entry, **changes}))
    return register
