"""How near does the advertising budget come to that of one who knows every curve, and its figures to what is planted?

Panels are drawn from the simulator's own formulas (`support.planted_channels`), so many seeds take minutes; the fit is
that of the asset. With `--home`, a simulated shop that `cartograph run` has made is asked too, and Markov's shares are
held against the same truth.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.planted_channels import PlantedChannels, planted_channels
from cartograph.lake import Lake
from cartograph.settings import Settings
from ml_assets.core.budget.allocation import Curves, Limits, allocate, best
from ml_assets.core.budget.media_mix import LiftTest
from ml_assets.core.budget.panel import CAMPAIGNS_MART, MARTS, channel_panel
from ml_assets.core.budget.response import Fitted, fit

SHARE_BAR, RETURN_BAR, PROFIT_BAR = 0.10, 0.15, 0.95
LIFT_ERROR = 0.10
"""Standard error of the lift test of the largest channel, over its return."""
LIMITS = {"half to one and a half": Limits(), "nothing to three times": Limits(lowest=0.0, highest=3.0)}


def with_credit(planted: PlantedChannels, _: int) -> Fitted:
    """The fit by both witnesses."""
    return fit(planted.panel)


def by_totals(planted: PlantedChannels, _: int) -> Fitted:
    """The fit of a shop that does not record what led to its orders."""
    return fit(planted.panel.without_credit())


def with_lift_test(planted: PlantedChannels, seed: int) -> Fitted:
    """The fit by both witnesses and an experiment on the channel with the most spend."""
    largest = int(planted.panel.spend.sum(axis=1).argmax())
    true = float(planted.returns[largest])
    found = true * (1 + LIFT_ERROR * np.random.default_rng(seed).standard_normal())
    return fit(planted.panel, [LiftTest(planted.panel.channels[largest], found, LIFT_ERROR * true)])


METHODS: dict[str, Callable[[PlantedChannels, int], Fitted]] = {
    "credited orders and all others": with_credit,
    "all orders alone": by_totals,
    "both and a lift test": with_lift_test,
}


def measured(planted: PlantedChannels, fitted: Fitted) -> dict[str, Any]:
    """The errors of one fit, and the part of the oracle's profit that its budget earns."""
    margin = planted.panel.revenue_of_order * float(planted.panel.margin_rate or 0)
    truth = Curves([planted.curves], margin)
    shares = np.array([one.share.value for one in fitted.responses])
    returns = [one.return_on_spend for one in fitted.responses]
    found: dict[str, Any] = {
        "worst_share_error": float(np.abs(shares - planted.shares).max()),
        "return_errors": [one.value / true - 1 for one, true in zip(returns, planted.returns, strict=True)],
        "covered": [one.low <= true <= one.high for one, true in zip(returns, planted.returns, strict=True)],
        "is_shown": fitted.is_shown,
    }
    for name, limits in LIMITS.items():
        proposal = allocate(fitted.responses, margin, limits)
        least, most, today, spend = (
            np.array([getattr(line, field) for line in proposal.lines])
            for field in ("least", "most", "today", "proposed")
        )
        oracle = best(truth, least, most, proposal.total_most, today)
        found[name] = float(truth.profits(spend)[0] / truth.profits(oracle)[0])
    return found


def told(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of many seeds."""
    errors = np.array([row["return_errors"] for row in rows])
    shares = np.array([row["worst_share_error"] for row in rows])
    found: dict[str, Any] = {
        "seeds": len(rows),
        "shares_within_10_points": float((shares <= SHARE_BAR).mean()),
        "median_worst_share_error": float(np.median(shares)),
        "returns_within_15_percent": float((np.abs(errors) <= RETURN_BAR).mean()),
        "return_bias": errors.mean(axis=0).round(3).tolist(),
        "return_error_sd": errors.std(axis=0).round(3).tolist(),
        "intervals_cover": float(np.mean([row["covered"] for row in rows])),
        "shown": float(np.mean([row["is_shown"] for row in rows])),
    }
    for name in LIMITS:
        parts = np.array([row[name] for row in rows])
        found[name] = {
            "mean_part_of_oracle": float(parts.mean()),
            "lowest": float(parts.min()),
            "reach_95_percent": float((parts >= PROFIT_BAR).mean()),
        }
    return found


def of_home(home: Path) -> dict[str, Any]:
    """The shares and returns of a simulated shop beside the planted ones, and the shares of the Markov chain."""
    lake = Lake.from_settings(Settings(home=home))
    marts = {name: lake.relation_sql(f"published.{name}") for name in (*MARTS, CAMPAIGNS_MART)}
    with lake.connect() as con:
        panel = channel_panel(con, marts)
        rows = con.execute(
            f"""
            SELECT channel, incremental_share, return_on_spend, credit_share / sum(credit_share) OVER ()
            FROM ({lake.relation_sql("truth.channels")}) JOIN ({lake.relation_sql("published.markov_attribution")})
            USING (channel) ORDER BY channel"""
        ).fetchall()
    fitted = fit(panel)
    return {
        response.channel: {
            "planted_share": share,
            "share": response.share.value,
            "markov_share": markov,
            "planted_return": planted,
            "return": response.return_on_spend.value,
        }
        for response, (_, share, planted, markov) in zip(fitted.responses, rows, strict=True)
    }


def main() -> None:
    """Print a line of JSON for each size of shop, margin and way to fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--customers", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--margin", type=float, default=0.5, help="Of a unit of revenue.")
    parser.add_argument("--home", type=Path, help="A home in which the simulated shop was run.")
    chosen = parser.parse_args()
    for customers in chosen.customers:
        shops = [planted_channels(s, customers=customers, margin_rate=chosen.margin) for s in range(chosen.seeds)]
        for name, method in METHODS.items():
            rows = [measured(planted, method(planted, seed)) for seed, planted in enumerate(shops)]
            about = {"benchmark": "budget", "customers": customers, "margin_rate": chosen.margin, "method": name}
            print(json.dumps({**about, **told(rows)}), flush=True)
    if chosen.home:
        print(json.dumps({"benchmark": "budget", "home": str(chosen.home), "channels": of_home(chosen.home)}))


if __name__ == "__main__":
    main()
