"""Does the service keep to its OpenAPI document, whatever is asked? Prints a JSON line, and ends with 1 where not.

At least `--cases` requests to the service of a shop's release, made and judged by schemathesis: no 5xx, no answer that
is not documented, nothing valid refused and nothing invalid taken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import httpx
from support.served import api, customer_ids, free_port, home_of_shop, served

from tests.support.contract import hold, known_values


def main() -> None:
    """Send the requests and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="Of a shop that has a release; by default one is made.")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    port = free_port()
    began, cases, failures = time.perf_counter(), 0, 0
    with (
        home_of_shop(chosen.home) as environment,
        served([sys.executable, "-m", "api"], api(environment, port), port) as running,
        httpx.Client(base_url=running.url) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        known, seed = known_values(client, customer_ids(environment, 20)), chosen.seed
        while cases < chosen.cases:
            held = hold(client, Path(folder), known, examples=200, seed=seed)
            cases, failures, seed = cases + held.cases, failures + held.failures, seed + 1
            if held.failures:
                print(held.log, file=sys.stderr)
                break
    seconds = round(time.perf_counter() - began, 1)
    print(json.dumps({"benchmark": "contract", "cases": cases, "failures": failures, "seconds": seconds}))
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
