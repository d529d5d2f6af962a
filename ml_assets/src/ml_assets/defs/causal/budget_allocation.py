"""How to spend on paid channels, as an asset: the daily budget that is expected to earn most within limits.

A shop that does not tell what it spends has no such asset.
"""

import dagster as dg
from pydantic import Field

from cartograph.releases.contents.causal import Budget
from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.budget import pictures
from ml_assets.core.budget.allocation import Allocation, Limits, allocate
from ml_assets.core.budget.answers import ALLOCATIONS, allocation_rows, budget_of, responses_of
from ml_assets.core.budget.response import Response
from ml_assets.defs.causal.channel_response import KEY as RESPONSE_KEY
from ml_assets.defs.causal.channel_response import told
from ml_assets.defs.marts import BUDGET, RESPONSE, open_lake, pin, plain_failures, spends_on_channels
from ml_assets.defs.metadata import markdown_picture, markdown_table, table_metadata

KEY = dg.AssetKey(["causal", "budget_allocation"])
LIMITS, SEEN, EARNS = "budget_within_limits", "spend_was_seen", "earns_at_least_today"
CHECKS = {
    LIMITS: "The proposal keeps the total and the limits of each channel.",
    SEEN: "No channel is proposed more than has been spent on it: a curve says nothing beyond.",
    EARNS: "The proposal is expected to earn at least what today's budget does, where that is within the limits.",
}
TOLERANCE = 1e-6


class BudgetQuestion(dg.Config):
    """What a budget has to keep."""

    total_change: float = Field(
        0.0, description="By how much the total may grow: 0.1 for a tenth more. It is a most: less may be proposed."
    )
    lowest: float = Field(0.5, description="Each channel gets at least so many times of what it gets today.")
    highest: float = Field(1.5, description="And at most so many times, or the most that was ever spent on it.")
    bounds: dict[str, list[float]] = Field(
        {}, description="Other limits of a channel by its name: two numbers, as `lowest` and `highest`."
    )
    margin_rate: float | None = Field(
        None, description="What is left of a unit of revenue; by default by the costs of what was sold."
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The asset, for a shop that tells what it spends."""
    return dg.Definitions(assets=[budget_allocation] if spends_on_channels() else [])


@dg.asset(
    key=KEY,
    deps=[RESPONSE_KEY],
    kinds={"scipy", "iceberg"},
    tags={"domain": "marketing"},
    check_specs=[
        dg.AssetCheckSpec(name, asset=KEY, description=about, blocking=True) for name, about in CHECKS.items()
    ],
    description=(
        "The daily budget of the paid channels that is expected to earn most within its limits, with the range in "
        "which the best budget may lie and the gain over today's; nothing where the channels' responses are not shown."
    ),
)
def budget_allocation(config: BudgetQuestion) -> dg.MaterializeResult:
    """Read the responses, find the budget and store it."""
    lake = open_lake()
    currency = load_shop(get_settings()).currency
    with plain_failures():
        inputs = pin(lake, [RESPONSE])
        with lake.connect() as con:
            rows = con.execute(f"FROM ({inputs.selects['channel_response']}) ORDER BY channel").to_arrow_table()
        lake.ensure(BUDGET, ALLOCATIONS, None)
        known = rows.slice(0, 1).to_pylist()
        reason = why_none(known[0] if known else None, config)
        if reason:
            with lake.overwriting(BUDGET, None):  # by nothing
                return abstention(reason)
        responses = responses_of(rows)
        rate = config.margin_rate if config.margin_rate is not None else known[0]["margin_rate"]
        try:
            found = allocate(responses, known[0]["revenue_of_order"] * rate, limits_of(config))
        except ValueError as mistake:
            raise dg.Failure(str(mistake), allow_retries=False) from None
        budget = budget_of(responses, found, known[0]["as_of_date"], currency)
        with lake.overwriting(BUDGET, None) as writer:
            writer.write(allocation_rows(budget))
    return dg.MaterializeResult(
        metadata=table_metadata(ALLOCATIONS, len(budget.lines), inputs.snapshots) | described(budget, found),
        check_results=judge(found, responses),
    )


def limits_of(config: BudgetQuestion) -> Limits:
    """The limits that the configuration sets.

    Raises:
        ValueError: they cannot be kept.
    """
    wrong = sorted(name for name, pair in config.bounds.items() if len(pair) != 2)
    if wrong:
        raise ValueError(f"the bounds of {', '.join(wrong)} must be two numbers, the lowest and the highest")
    bounds = {name: (pair[0], pair[1]) for name, pair in config.bounds.items()}
    return Limits(config.total_change, config.lowest, config.highest, bounds)


def why_none(known: dict[str, object] | None, config: BudgetQuestion) -> str | None:
    """Why no budget can be proposed; None where one can."""
    if known is None:
        return "there are no responses: causal/channel_response says why"
    if not known["fit_is_shown"]:
        return "the data do not show that the channels do anything: causal/channel_response failed on held-out weeks"
    if config.margin_rate is None and known["margin_rate"] is None:
        return "the shop knows no cost of what it sells: set margin_rate in the configuration of this asset"
    return None


def described(budget: Budget, found: Allocation) -> dict[str, object]:
    """The proposal as metadata."""
    capped = [line.channel for line in budget.lines if line.is_capped]
    return {
        "verdict": "earns more than today's" if budget.is_shown else "not told from today's: keep that, or experiment",
        "gain": f"{told(found.gain)} {budget.currency} a day",
        "profit_today": f"{told(found.profit_today)} {budget.currency} a day",
        "margin_of_order": found.margin_of_order,
        "not_more_than_was_seen": ", ".join(capped) or "no channel is held back by it",
        "budget": markdown_table(
            ("channel", "today", "proposed", "best budgets", "margin of one more today", "as proposed"),
            [
                (
                    line.channel,
                    f"{line.today:.2f}",
                    f"{line.proposed:.2f}",
                    f"{line.likely[0]:.2f} to {line.likely[1]:.2f}",
                    f"{line.margin_today:.2f}",
                    f"{line.margin_proposed:.2f}",
                )
                for line in budget.lines
            ],
        ),
        "picture": markdown_picture(pictures.budgets(found, budget.currency)),
    }


def abstention(reason: str) -> dg.MaterializeResult:
    """No budget, and why: the checks cannot judge yet."""
    return dg.MaterializeResult(
        metadata={"abstained": reason},
        check_results=[
            checked(name, True, expected=about, found="none", description=f"cannot judge yet: {reason}")
            for name, about in CHECKS.items()
        ],
    )


def judge(found: Allocation, responses: tuple[Response, ...]) -> list[dg.AssetCheckResult]:
    """The checks of a proposal."""
    known = {one.channel: max(one.highest, one.today) for one in responses}
    beyond = [line.channel for line in found.lines if line.proposed > known[line.channel] + TOLERANCE]
    today = sum(line.today for line in found.lines)
    allowed = today <= found.total_most + TOLERANCE and all(
        line.least - TOLERANCE <= line.today <= line.most + TOLERANCE for line in found.lines
    )
    proposed = sum(line.proposed for line in found.lines)
    results = {
        LIMITS: (
            found.is_within_limits,
            f"at most {found.total_most:.2f} a day, each channel within its own",
            f"{proposed:.2f} a day",
            [],
        ),
        SEEN: (not beyond, "no channel beyond what was spent on it", f"{len(beyond)} beyond", beyond),
        EARNS: (
            not allowed or found.gain.value >= -TOLERANCE,
            "a gain of at least 0" if allowed else "anything: today's budget is not within the limits",
            f"a gain of {found.gain.value:.4f} a day",
            [],
        ),
    }
    return [
        checked(name, passed, expected=expected, found=seen, samples=samples)
        for name, (passed, expected, seen, samples) in results.items()
    ]
