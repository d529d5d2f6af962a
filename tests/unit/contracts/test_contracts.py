"""The contracts of the raw datasets are coherent: keys, references and rules speak of columns that are there."""

from __future__ import annotations

import duckdb
import pytest

from cartograph.contracts import DUCKDB_TYPES, Contract, with_provenance
from ecom_assets.contracts import CONTRACTS
from ecom_assets.contracts.quarantine import quarantine_contract

ALL = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=list(CONTRACTS))


@ALL
def test_keys_times_and_references_name_columns(contract: Contract) -> None:
    assert len(set(contract.names)) == len(contract.names)
    for name in contract.key:
        assert not contract.column(name).nullable
    assert contract.event_time is not None
    assert contract.column(contract.event_time).type in {"timestamp", "date"}
    for reference in contract.references:
        parent = CONTRACTS[reference.dataset]
        assert parent.column(reference.to_column).type == contract.column(reference.column).type
        assert reference.to_column in parent.key
        assert list(CONTRACTS).index(reference.dataset) < list(CONTRACTS).index(contract.dataset), "parents first"


@ALL
def test_rules_are_booleans_over_the_columns(contract: Contract) -> None:
    columns = ", ".join(f'CAST(NULL AS {DUCKDB_TYPES[c.type]}) AS "{c.name}"' for c in contract.columns)
    for rule in contract.rules:
        assert duckdb.sql(f"SELECT {rule.sql} FROM (SELECT {columns})").types == ["BOOLEAN"]
        assert duckdb.sql(f"SELECT {rule.sql} FROM (SELECT {columns})").fetchone() in {(None,), (True,)}, rule.name


@ALL
def test_what_is_optional_says_what_it_enables(contract: Contract) -> None:
    assert contract.required != bool(contract.enables)


def test_the_quarantine_of_each_dataset_has_provenance() -> None:
    contract = quarantine_contract("orders")
    assert contract.dataset == "orders"
    assert contract.event_time == "window_start"
    assert with_provenance(contract.model_copy(update={"columns": contract.columns[:-3]})) == contract
