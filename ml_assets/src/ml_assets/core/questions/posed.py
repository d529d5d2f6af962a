"""A question on a shop's data: what each unit's module makes of a file, and what is needed to make it.

`customers` and `products` have the SQL; from here on all questions are answered alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

import duckdb
import pyarrow as pa

from cartograph.contracts import Contract
from ml_assets.core.causal.study import Design, Study
from ml_assets.core.features.customers import Marts
from ml_assets.core.own_models.target import Connect

SHARE = "of it, as a share"
"""The unit of a relative change: 0.5 is half more. For people it is told in percent."""


class NoAnswer(ValueError):  # noqa: N818 - names what is the case, as the errors of the kernel do
    """The shop has too little data for the question yet. The message says what is there and the cure."""


class Data(NamedTuple):
    """What questions are asked of.

    `con` reads `marts`, a DuckDB SELECT for each mart that the shop has, and works in UTC; `connect` gives a
    connection that reaches these and nothing else, for SELECTs that people write. `data_end` is the day after the last
    of the data, and `shared` a SELECT of what all questions of a unit share: the features of customers on the days that
    they ask about, or the weeks of products.
    """

    con: duckdb.DuckDBPyConnection
    marts: Marts
    connect: Connect
    data_end: date
    currency: str
    shared: str = ""


class Posed(NamedTuple):
    """A question's panel, and the words and amounts of its answer.

    `rows` have the form of `contract`, and `study` is made of them. `as_of` is the day of the latest treatment;
    `treatment`, `outcome` and `population` say what these are, `unit` what the outcome is counted in (`EUR per
    customer`). A unit's treatment costs `cost`, and a unit of the outcome is worth `value`, in the shop's currency;
    `value` is None where that is not known.
    """

    contract: Contract
    rows: pa.Table
    study: Study
    design: Design
    as_of: date
    treatment: str
    outcome: str
    population: str
    unit: str
    cost: float
    value: float | None
    notes: Mapping[str, str]


def unsound(posed: Posed) -> list[str]:
    """What is wrong with a panel's rows, in words: units that are twice in it, gaps, and knowledge of after its moment.

    Features of a day hold what was known before it, so the day must not be after the moment of the treatment.
    """
    names, key = posed.rows.column_names, ", ".join(posed.contract.key)
    twice = f"SELECT {key} FROM panel GROUP BY {key} HAVING count(*) > 1"
    asks = {
        f"is in it more than once, by {key}": f"SELECT count(*) FROM ({twice})",
        "has no treatment or no outcome": "SELECT count(*) FROM panel WHERE (treatment + outcome) IS NULL",
    }
    if {"as_of_date", "asked_at"} <= set(names):
        asks["has features of after its treatment"] = (
            "SELECT count(*) FROM panel WHERE as_of_date > CAST(asked_at AS DATE)"
        )
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("panel", posed.rows)
        found = {words: con.execute(select).fetchone() for words, select in asks.items()}
    return [f"{row[0]:,} of {len(posed.rows):,}: {words}" for words, row in found.items() if row and row[0]]
