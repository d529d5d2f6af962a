"""How soon does a service of very many customers answer, and how much memory does it take to answer from all over them?

A release of `--customers` customers and nothing else is served as `python -m api`; then customers are looked up at
random. `start_seconds` ends with the first answer of `/ready`, when the files are verified; `start_cpu_seconds` is the
processor time of it, on a machine that others use, too. Resident memory has the pages of mapped files that were read,
which the system takes back when it needs them. Prints a JSON
line; `start_warm_seconds` is of a second start.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from support.load import request, saturate
from support.served import Served, api, free_port, served

from cartograph.releases import ReleaseInputs, open_store
from cartograph.releases.contents.base import ShopCard
from cartograph.releases.contents.causal import EFFECTS
from cartograph.releases.contents.files import CUSTOMERS, EFFECTS_FILE, GOLDEN, SHOP
from cartograph.releases.contents.golden import Golden, GoldenRequest
from cartograph.releases.contents.tables import CUSTOMER_COLUMNS
from cartograph.releases.contents.tables import write_customers as write
from cartograph.settings import Settings

AS_OF = date(2026, 1, 1)
MEMORY_BAR_MIB, START_BAR_SECONDS = 2048, 5.0
DIFFERENT, CONNECTIONS = 200_000, 32


def main() -> None:
    """Make the release, serve it and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, default=40, help="Numbers that are known of each customer.")
    parser.add_argument("--seconds", type=float, default=30.0, help="Of looking up.")
    parser.add_argument("--folder", type=Path, help="Where there is room; by default that of temporary files.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        began = time.perf_counter()
        publish(Settings(home=Path(folder)), chosen.customers, chosen.features)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        line = {"benchmark": "serving_size", "customers": chosen.customers, "features": chosen.features}
        line |= {"release_mib": round(size / 2**20), "write_seconds": round(time.perf_counter() - began, 1)}
        environment, port = {**os.environ, "CARTOGRAPH_HOME": folder}, free_port()
        command = [sys.executable, "-m", "api"]
        with served(command, api(environment, port), port) as running:
            line |= {"start_seconds": round(running.start_seconds, 2), "start_mib": round(running.resident_mib())}
            line |= {"start_cpu_seconds": round(running.cpu_seconds(), 2)}
            line |= looked_up(running, chosen.customers, chosen.seconds)
        with served(command, api(environment, port), port) as running:
            line |= {"start_warm_seconds": round(running.start_seconds, 2)}
    print(json.dumps(line | {"mib_bar": MEMORY_BAR_MIB, "start_bar_seconds": START_BAR_SECONDS}))


def looked_up(running: Served, customers: int, seconds: float) -> dict[str, float]:
    """Look customers up at random: how many per second, and the memory that the service then has."""
    drawn = np.random.default_rng(7).integers(0, customers, DIFFERENT)
    requests = [request("GET", f"/v1/customers/{name(number)}") for number in drawn]
    rate = saturate(running.port, requests, seconds, CONNECTIONS)
    return {"looked_up": round(rate * seconds), "per_second": round(rate), "mib": round(running.resident_mib())}


def publish(settings: Settings, customers: int, features: int) -> None:
    """Release that many customers, with as many features, as the simulated shop's."""
    inputs = ReleaseInputs(
        as_of=AS_OF,
        window=(datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        shop="simulated",
        snapshots={},
        models={},
        git_commit=None,
        checks=(),
    )
    shop = ShopCard(name="simulated", title="A very large shop", currency="EUR")
    with open_store(settings).creating(inputs, created_at=datetime(2026, 1, 5, tzinfo=UTC)) as draft:
        (draft.path / SHOP).write_bytes(shop.model_dump_json().encode())
        (draft.path / EFFECTS_FILE).write_bytes(EFFECTS.dump_json(()))
        golden = Golden(requests=(GoldenRequest(name="shop", path="/v1/release", answer={"customers": customers}),))
        (draft.path / GOLDEN).write_text(golden.model_dump_json())
        write(draft.path / CUSTOMERS, table(customers, features))


def table(customers: int, features: int) -> pa.Table:
    """The rows: each column has different values in different rows; features repeat a few columns of numbers."""
    rows = np.arange(customers)
    numbers = [pa.array(np.random.default_rng(at).gamma(10, 10, customers)) for at in range(4)]
    texts = pa.DictionaryArray.from_arrays(pa.array(rows % 7, pa.int32()), [f"group {at}" for at in range(7)])
    columns: dict[str, pa.Array] = {}
    for at, (column, kind) in enumerate(CUSTOMER_COLUMNS.items()):
        if column == "customer_id":
            columns[column] = pa.array((name(row) for row in range(customers)), pa.string(), size=customers)
        elif column.endswith("_version"):
            columns[column] = pa.array(["3"], kind).take(pa.array(np.zeros(customers, np.int8)))
        elif column == "as_of":
            columns[column] = pa.array([AS_OF], kind).take(pa.array(np.zeros(customers, np.int8)))
        elif column.endswith("_probability"):
            columns[column] = pa.array((rows * 37 + at) % 1000 / 1000.0)
        elif column == "next_action_reason":
            columns[column] = pa.array(["adds_most"], kind).take(pa.array(np.zeros(customers, np.int8)))
        elif column == "policies":
            columns[column] = pa.array([["email_winback_spend"]], kind).take(pa.array(np.zeros(customers, np.int8)))
        elif kind == pa.string():
            columns[column] = texts.cast(kind)
        else:
            columns[column] = numbers[at % 4].cast(kind, safe=False)
    columns |= {f"feature_{at:02d}_amount": numbers[at % 4] for at in range(features)}
    return pa.table(columns)


def name(number: int) -> str:
    """A customer's id."""
    return f"C{number:09d}"


if __name__ == "__main__":
    main()
