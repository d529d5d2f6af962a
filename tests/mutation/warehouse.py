"""A built warehouse into which faults are seeded: what is downstream is built again, and its data tests are run.

Everything happens in the SQL that dbt compiled for the build, in a transaction that is rolled back: no dbt, no copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from tests.mutation.faults import Fault


class MutableWarehouse:
    """The warehouse at `path`, and the manifest of the dbt run that built it."""

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self._connection = duckdb.connect(path)
        self._connection.execute("SET TimeZone = 'UTC'")
        nodes = manifest["nodes"].values()
        self._models = {n["name"]: n for n in nodes if n["resource_type"] == "model" and n.get("compiled_code")}
        self.tests = {n["name"]: n for n in nodes if n["resource_type"] == "test" and n.get("compiled_code")}

    @contextmanager
    def seeded(self, fault: Fault) -> Iterator[None]:
        """The warehouse with `fault` in it and everything downstream built again, for as long as the block lasts."""
        self._connection.execute("BEGIN")
        try:
            self._seed(fault)
            for model in self._downstream(fault.where):
                self._build(model, model["compiled_code"])
            yield
        finally:
            self._connection.execute("ROLLBACK")

    @contextmanager
    def quarantined(self, dataset: str, where: str) -> Iterator[None]:
        """The warehouse as it is where the rows of `dataset` that `where` chooses went to the quarantine instead."""
        execute = self._connection.execute
        execute("BEGIN")
        try:
            execute(f"CREATE TEMP TABLE bad AS SELECT * FROM raw.{dataset} WHERE {where}")
            execute(f"CREATE TEMP TABLE good AS SELECT * FROM raw.{dataset} ANTI JOIN bad USING (order_id, updated_at)")
            execute(
                f"""
                CREATE TEMP TABLE held AS SELECT * FROM quarantine.{dataset} UNION ALL BY NAME
                SELECT 'wrong_type:subtotal_amount' AS reason, CAST(to_json(bad) AS VARCHAR) AS row FROM bad
                """
            )
            execute(f"CREATE OR REPLACE VIEW raw.{dataset} AS SELECT * FROM temp.good")
            execute(f"CREATE OR REPLACE VIEW quarantine.{dataset} AS SELECT * FROM temp.held")
            for model in self._downstream(f"raw.{dataset}"):
                self._build(model, model["compiled_code"])
            yield
        finally:
            execute("ROLLBACK")

    def failing(self) -> set[str]:
        """The data tests that find rows."""
        return {name for name, test in self.tests.items() if self._rows(test["compiled_code"])}

    def rows_of(self, test: str) -> int:
        """How many rows the data test of that name finds."""
        return self._rows(self.tests[test]["compiled_code"])

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _rows(self, sql: str) -> int:
        (count,) = self._connection.execute(f"SELECT count(*) FROM ({sql})").fetchall()[0]
        return int(count)

    def _seed(self, fault: Fault) -> None:
        if fault.where.startswith("raw."):
            self._connection.execute(f"CREATE TEMP TABLE changed AS {fault.statement}")
            self._connection.execute(f"CREATE OR REPLACE VIEW {fault.where} AS SELECT * FROM temp.changed")
        elif fault.statement:
            changed = self._connection.execute(
                fault.statement.format(table=self._models[fault.where]["relation_name"])
            ).fetchall()[0][0]
            assert changed, f"{fault.name}: no row was changed"
        else:
            compiled = self._models[fault.where]["compiled_code"]
            assert fault.before in compiled, f"{fault.name}: {fault.before!r} is not in\n{compiled}"
            self._build(self._models[fault.where], compiled.replace(fault.before, fault.after))

    def _build(self, model: Mapping[str, Any], sql: str) -> None:
        kind = "VIEW" if model["config"]["materialized"] == "view" else "TABLE"
        self._connection.execute(f"CREATE OR REPLACE {kind} {model['relation_name']} AS {sql}")

    def _downstream(self, where: str) -> list[Mapping[str, Any]]:
        """The models that read `where`, directly or not, each after those that it reads."""
        if where.startswith("raw."):
            touched = {f"source.cartograph.shop.{where.removeprefix('raw.')}"}
        else:
            touched = {self._models[where]["unique_id"]}
        waiting, ordered = dict(self._models), []
        done = {node for model in waiting.values() for node in model["depends_on"]["nodes"]} - {
            model["unique_id"] for model in waiting.values()
        }
        while waiting:
            ready = [m for m in waiting.values() if set(m["depends_on"]["nodes"]) <= done]
            assert ready, "the models read each other in a circle"
            for model in ready:
                if touched & set(model["depends_on"]["nodes"]):
                    touched.add(model["unique_id"])
                    ordered.append(model)
                done.add(model["unique_id"])
                del waiting[model["name"]]
        return ordered
