"""How often are the daily checks wrong? Prints JSON lines: false alarms, then precision and recall by kind of incident.

`python benchmarks/anomalies.py [seeds]`: 24 months of the default shop for each seed (20), without duplicates, invalid
rows or drift. First as it is: each alarm is false. Then incidents are planted, one kind at a time, every sixty days,
and each must be found on its day by the check that is there for it. An alarm is a day, or days in a row, on
which a dataset has anything unusual: what one message would tell. Every dataset that can be compared is examined;
incidents are planted in those with some forty rows a day or more.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from cartograph.contracts import DUCKDB_TYPES, Contract
from cartograph.windows import Window, at_midnight, windows
from ecom_assets.contracts import CONTRACTS
from ecom_assets.contracts.validation import validate
from ecom_assets.quality.anomalies import unusual_nulls, unusual_values, unusual_volumes
from ecom_assets.quality.policy import DatasetPolicy
from ecom_assets.quality.profile import profile
from ecom_assets.simulator import SimulatedShop, SimulatorConfig

SEEDS = 20
START, END = date(2024, 1, 1), date(2026, 1, 1)
HISTORY, APART = 90, 60
FEWEST_ROWS_A_DAY = 40


class Incident(NamedTuple):
    """A kind of incident: the rows that stay (`copies` times), the columns whose values change, and, where the rows are
    there `again`, those whose values change in that copy."""

    kept: str = "true"
    copies: int = 1
    values: Mapping[str, str] = {}
    again: Mapping[str, str] = {}


def incidents(contract: Contract) -> dict[str, Incident]:
    """What can happen to a dataset, each with the check that must find it."""
    found = {
        "volume_is_usual: a day is missing": Incident("false"),
        "volume_is_usual: two thirds of a day are missing": Incident("hash(rowid) % 3 = 0"),
        "volume_is_usual: four times the rows": Incident(copies=4),
    }
    if contract.column(str(contract.event_time)).type == "timestamp":
        other = {name: f"concat({name}, rowid)" for name in contract.key if contract.column(name).type == "string"}
        found["volume_is_usual: a day twice, under other keys"] = Incident(again=other)
    for column in contract.columns:
        for value in column.rare:
            found[f"values_are_usual: {column.name} {value} of all"] = Incident(values={column.name: f"'{value}'"})
    steady = [c for c in contract.columns if not c.volatile and c.pii is None and c.name != contract.event_time]
    for column in steady:
        name = column.name
        if column.type in {"money", "price"}:
            found[f"values_are_usual: {name} in cents"] = Incident(values={name: f"{name} * 100"})
            found[f"values_are_usual: {name} twice as large"] = Incident(values={name: f"{name} * 2"})
            if name != "shipping_amount":  # that is an offer
                found[f"values_are_usual: {name} is 0"] = Incident(values={name: "0"})
        referenced = {reference.column for reference in contract.references} | set(contract.key)
        if column.type == "string" and name in {"device", "channel", "method", "shipping_country"} - referenced:
            random = f"if(hash(rowid, 1) % 2 = 0, hash(rowid)::VARCHAR, {name})"
            found[f"values_are_usual: {name} explodes"] = Incident(values={name: random})
        if column.nullable and name not in referenced and name != "order_id":  # filled for few events, by a rule
            emptied = f"if(hash(rowid) % 3 > 0, NULL, {name})"
            found[f"nulls_are_usual: {name} two thirds empty"] = Incident(values={name: emptied})
    return found


def alarms(connection: duckdb.DuckDBPyConnection, relation: str, contract: Contract) -> dict[str, set[int]]:
    """The days, by number, on which each check finds something unusual."""
    days = (END - START).days
    figures, policy = profile(connection, relation, contract, START, days), DatasetPolicy()
    found = {
        "volume_is_usual": unusual_volumes(figures, range(days), policy.volume_is_usual),
        "nulls_are_usual": unusual_nulls(figures, range(days), policy.nulls_are_usual),
        "values_are_usual": unusual_values(figures, range(days), policy.values_are_usual),
    }
    return {check: {(anomaly.day - START).days for anomaly in anomalies} for check, anomalies in found.items()}


def messages(days: set[int]) -> int:
    """How many messages tell of `days`: those in a row are one."""
    return sum(day - 1 not in days for day in days)


def load(connection: duckdb.DuckDBPyConnection, shop: SimulatedShop, contract: Contract) -> None:
    """Make the table `delivered` of what the shop delivers."""
    span = Window(at_midnight(START), at_midnight(END))
    asked = list(windows(span.start, span.end, "monthly"))
    rows = [
        validate(delivery.rows, contract, window=delivery.window, shop_window=span, known_keys={}).accepted
        for delivery in shop.deliveries(contract.dataset, asked)
    ]
    connection.register("arrived", pa.concat_tables(rows))
    connection.execute("CREATE OR REPLACE TABLE delivered AS SELECT * FROM arrived")


def planted(contract: Contract, incident: Incident, days: list[date]) -> str:
    """A SELECT of the table `delivered` with the incident on `days`."""
    listed = ", ".join(f"DATE '{day}'" for day in days)
    struck = f"CAST({contract.event_time} AS DATE) IN ({listed})"

    def copy(values: Mapping[str, str]) -> str:
        changed = ", ".join(
            f"CAST({sql} AS {DUCKDB_TYPES[contract.column(name).type]}) AS {name}" for name, sql in values.items()
        )
        replaced = f"* REPLACE ({changed})" if changed else "*"
        return f" UNION ALL SELECT {replaced} FROM delivered WHERE {struck} AND ({incident.kept})"

    again = copy(incident.again) if incident.again else ""
    return f"SELECT * FROM delivered WHERE NOT ({struck}){copy(incident.values) * incident.copies}{again}"


def examine(seed: int) -> Iterator[tuple[str, str, Counter[str]]]:
    """For each dataset and kind of incident: how many were planted, found, and what else alarmed."""
    config = SimulatorConfig(
        customers=5000, seed=seed, start=START, end=END, duplicate_rate=0, invalid_rate=0, schema_drift_after=1
    )
    shop, draws = SimulatedShop(config), np.random.default_rng(seed)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for contract in CONTRACTS.values():
            if not contract.is_steady:
                continue
            load(connection, shop, contract)
            clean = alarms(connection, "SELECT * FROM delivered", contract)
            unusual = set().union(*clean.values())
            for year in range(config.days // 365):
                within = {day for day in unusual if day // 365 == year}
                yield contract.dataset, "none", Counter(false=messages(within), years=1, noisy=messages(within) > 1)
            (rows,) = connection.execute(f"SELECT count(*) FROM delivered WHERE {contract.steady}").fetchall()[0]
            if rows / config.days < FEWEST_ROWS_A_DAY:
                continue
            kinds = incidents(contract)
            first = HISTORY + int(draws.integers(APART))
            for turn, (kind, incident) in enumerate(kinds.items()):
                chosen = set(range(first + 3 * turn, config.days, APART))
                days = [START + timedelta(days=day) for day in sorted(chosen)]
                found = alarms(connection, planted(contract, incident, days), contract)
                check = kind.split(":")[0]
                others = set().union(*found.values()) - set().union(*clean.values()) - chosen
                counts = Counter(planted=len(chosen), found=len(chosen & found[check]), false=messages(others))
                yield contract.dataset, kind, counts


def main(seeds: int) -> None:
    """Examine that many shops."""
    by_dataset: dict[str, Counter[str]] = {}
    by_kind: dict[str, Counter[str]] = {}
    for seed in range(1, seeds + 1):
        for dataset, kind, counts in examine(seed):
            table, name = (by_dataset, dataset) if kind == "none" else (by_kind, f"{dataset}.{kind}")
            table.setdefault(name, Counter()).update(counts)
    for dataset, counts in by_dataset.items():
        line = {"benchmark": f"anomalies.false_alarms.{dataset}", "years": counts["years"], "alarms": counts["false"]}
        per_year = {
            "per_year": round(counts["false"] / counts["years"], 3),
            "years_with_more_than_one": counts["noisy"],
        }
        print(json.dumps(line | per_year))
    for kind, counts in by_kind.items():
        print(json.dumps({"benchmark": f"anomalies.{kind}", **_scores(counts)}))
    print(json.dumps({"benchmark": "anomalies.all", **_scores(sum(by_kind.values(), Counter()))}))


def _scores(counts: Counter[str]) -> dict[str, float]:
    found, planted_ones, false = counts["found"], counts["planted"], counts["false"]
    return {
        "planted": planted_ones,
        "found": found,
        "false": false,
        "recall": round(found / max(planted_ones, 1), 4),
        "precision": round(found / max(found + false, 1), 4),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS)
