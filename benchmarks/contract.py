"""Does the service keep to its OpenAPI document, whatever is asked? Prints a JSON line, and ends with 1 where not.

At least `--cases` requests to the service of a shop's release by each of three callers, made and judged by
schemathesis: by whoever is at the laptop of a service without keys, by the holder of a key, and by a stranger without
one. No 5xx, no answer that is not documented, nothing valid refused, nothing invalid taken, and to a stranger nothing
but a 401.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from support.served import api, customer_ids, free_port, home_of_shop, served, settings_of

from cartograph.keys import SCOPES, KeyStore
from tests.support.contract import KEY, hold, known_values

EXAMPLES = 200
"""Drawn of each operation at a time."""
NO_RATE = {"CARTOGRAPH_API_RATE": "100000000/minute"}
"""Strangers, who have no key, are held to the service's own rate by their address."""


def main() -> None:
    """Send the requests and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="Of a shop that has a release, and no keys; by default one is made.")
    parser.add_argument("--cases", type=int, default=10_000, help="For each caller.")
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    found = []
    with home_of_shop(chosen.home) as environment:
        if settings_of(environment).keys_path.exists():
            parser.error("The shop has keys already, which are not to be touched: give a copy of its home without.")
        with running(environment, {}) as client:
            found.append(held_by("anybody", client, environment, chosen.cases, chosen.seed))
        with key_of(environment) as key, running(environment, {KEY: key}) as client:
            found.append(held_by("holder", client, environment, chosen.cases, chosen.seed))
            found.append(held_by("stranger", client, environment, chosen.cases, chosen.seed))
    print(json.dumps({"benchmark": "contract", "callers": found}))
    sys.exit(any(one["failures"] for one in found))


def held_by(
    caller: str, client: httpx.Client, environment: Mapping[str, str], cases: int, seed: int
) -> dict[str, object]:
    """How many requests by that caller were made in how many seconds, until there was a failure or were enough."""
    known = known_values(client, customer_ids(environment, 20))
    began, made, failures = time.perf_counter(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        while made < cases and not failures:
            stranger = caller == "stranger"
            held = hold(client, Path(folder), known, examples=EXAMPLES, by_stranger=stranger, seed=seed)
            made, failures, seed = made + held.cases, held.failures, seed + 1
            if failures:
                print(held.log, file=sys.stderr)
    return {"caller": caller, "cases": made, "failures": failures, "seconds": round(time.perf_counter() - began, 1)}


@contextmanager
def running(environment: Mapping[str, str], headers: Mapping[str, str]) -> Iterator[httpx.Client]:
    """A client, who sends these headers, of the service of the shop that the environment leads to."""
    port = free_port()
    with (
        served([sys.executable, "-m", "api"], api({**environment, **NO_RATE}, port), port) as found,
        httpx.Client(base_url=found.url, headers=headers) as client,
    ):
        yield client


@contextmanager
def key_of(environment: Mapping[str, str]) -> Iterator[str]:
    """A key that may do everything, of a shop that had none before and has none afterwards."""
    path = settings_of(environment).keys_path
    _, sent = KeyStore(path).create("contract", SCOPES, now=datetime.now(UTC), days=1)
    try:
        yield sent
    finally:
        path.unlink()


if __name__ == "__main__":
    main()
