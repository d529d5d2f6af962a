"""Whom the policies of a release are about: found where the release is made, so that the service runs no SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import duckdb
import pyarrow as pa

from cartograph.releases import UnfitRelease
from cartograph.releases.contents.causal import TreatmentPolicy
from ml_assets.core.questions.customers import populated
from ml_assets.core.questions.form import CustomerQuestion


def told_population(policy: TreatmentPolicy, asked: Iterable[CustomerQuestion]) -> TreatmentPolicy:
    """The policy with whom it is about: of one that was learned before policies told it, as its question's file says.

    Raises:
        UnfitRelease: there is no such question.
    """
    if policy.population is not None:
        return policy
    for question in asked:
        if question.name == policy.name:
            return policy.model_copy(update={"population": question.population})
    raise UnfitRelease(f"Nobody knows whom the policy of {policy.name} is about. Materialize causal/{policy.name}.")


def asked_about(
    con: duckdb.DuckDBPyConnection, features: str, as_of: date, policies: Sequence[TreatmentPolicy]
) -> pa.Table:
    """Whom policies are about on the as-of date: the names of these, `policies`, by `customer_id`; nobody else.

    `features` is a SELECT of customer features, of which a question's panel takes its population by the same SQL.
    """
    named = {f"policy_{number}": policy.name for number, policy in enumerate(policies)}
    asked = [
        f"SELECT customer_id, as_of_date, ${parameter} AS policy "
        f"FROM ({populated(features, policy.population or 'false')})"
        for parameter, policy in zip(named, policies, strict=True)
    ]
    nobody = "SELECT NULL::VARCHAR AS customer_id, NULL::DATE AS as_of_date, NULL::VARCHAR AS policy WHERE false"
    return con.execute(
        f"""SELECT customer_id, list_sort(list(policy)) AS policies FROM ({" UNION ALL ".join([nobody, *asked])})
        WHERE as_of_date = $as_of GROUP BY customer_id""",
        {"as_of": as_of, **named},
    ).to_arrow_table()
