"""What the checks of every feature table do around their own computation: how their findings are told.

What is computed and compared stands in `ml_assets.core.features`.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from cartograph.trust.evidence import checked
from ml_assets.core.features.leakage import Leakage
from ml_assets.core.features.reconciliation import Reconciled
from ml_assets.defs.metadata import markdown_table

NO_FUTURE = "nothing_from_the_future"
RECONCILE = "features_reconcile"


def future_result(found: Sequence[Leakage], module: str) -> dg.AssetCheckResult:
    """Whether no row knew of what came later; `module` computes the features."""
    return checked(
        NO_FUTURE,
        all(one.differing == 0 for one in found),
        expected="the same features from marts that end at their moment",
        found=f"{sum(one.differing for one in found):,} of {sum(one.rows for one in found):,} rows differ",
        samples=[f"{one.as_of}: {one.example}" for one in found if one.differing],
        description="; ".join(one.describe(module) for one in found if one.differing) or None,
        metadata={
            "dates": markdown_table(
                ("as of", "rows", "rows that differ"), [(one.as_of, one.rows, one.differing) for one in found]
            )
        },
    )


def reconciled_result(found: Reconciled | None, relation: str) -> dg.AssetCheckResult:
    """Whether the table has what the marts have; `relation` says how the rows stand to the date, as in "before"."""
    return checked(
        RECONCILE,
        found is None or found.holds,
        expected=f"{found.expected} {relation} {found.as_of}" if found else "as in the marts",
        found=str(found.found) if found else "nothing yet",
        samples=found.samples if found else (),
    )
