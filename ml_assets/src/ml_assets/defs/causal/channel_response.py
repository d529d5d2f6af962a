"""What each paid channel adds to orders, as an asset: curves with intervals, or why there are none.

A shop that does not tell what it spends has no such asset.
"""

import math

import dagster as dg
from pydantic import Field

from cartograph.settings import get_settings
from cartograph.shops import load_shop
from cartograph.trust.evidence import checked
from ml_assets.core.budget import pictures
from ml_assets.core.budget.answers import RESPONSES, response_rows
from ml_assets.core.budget.media_mix import LiftTest
from ml_assets.core.budget.panel import channel_panel
from ml_assets.core.budget.response import Fitted, fit
from ml_assets.core.evaluation.classification import Interval
from ml_assets.core.models.errors import NotEnoughData
from ml_assets.defs.marts import (
    RESPONSE,
    channel_marts,
    depends_on,
    open_lake,
    pin,
    plain_failures,
    published,
    spends_on_channels,
)
from ml_assets.defs.metadata import markdown_picture, markdown_table, table_metadata

KEY = dg.AssetKey(["causal", "channel_response"])
HELD_OUT, FINITE, SHARES = "channels_tell_held_out_weeks", "interval_is_finite", "shares_sum_to_one"
CHECKS = {
    HELD_OUT: ("warning", "Weeks that were left out of the fit are told better with the channels than without."),
    FINITE: ("error", "Every figure of a channel lies in a finite interval of its own."),
    SHARES: ("error", "The channels' shares of what they caused sum to 1."),
}


class Experience(dg.Config):
    """A holdout or geo experiment on a channel."""

    channel: str = Field(description="The paid channel, as in the data.")
    return_on_spend: float = Field(description="The revenue that one unit of currency added, more than 0.")
    standard_error: float = Field(description="The standard error of it, more than 0.")


class ChannelQuestion(dg.Config):
    """What is known of the channels beside the data."""

    lift_tests: list[Experience] = Field(
        [], description="Experiments that found what a channel adds. They narrow the intervals of the others too."
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The asset, for a shop that tells what it spends."""
    return dg.Definitions(assets=[channel_response] if spends_on_channels() else [])


@dg.asset(
    key=KEY,
    deps=[*depends_on(channel_marts())],
    kinds={"scipy", "iceberg"},
    tags={"domain": "marketing"},
    check_specs=[
        dg.AssetCheckSpec(name, asset=KEY, description=about, blocking=severity == "error")
        for name, (severity, about) in CHECKS.items()
    ],
    description=(
        "What each paid channel adds to daily orders: extra orders, share, return on spend, carry-over and saturation "
        "with 95 % intervals, from daily spend, the orders that are credited to each channel, and all others."
    ),
)
def channel_response(config: ChannelQuestion) -> dg.MaterializeResult:
    """Build the panel, fit the curves and store them."""
    lake = open_lake()
    with plain_failures():
        inputs = pin(lake, published(channel_marts()))
        lake.ensure(RESPONSE, RESPONSES, None)
        try:
            with lake.connect() as con:
                panel = channel_panel(con, inputs.selects)
            fitted = fit(panel, [LiftTest(**test.model_dump()) for test in config.lift_tests])
        except NotEnoughData as reason:
            with lake.overwriting(RESPONSE, None):  # by nothing
                return abstention(str(reason))
        except ValueError as mistake:
            raise dg.Failure(str(mistake), allow_retries=False) from None
        rows = response_rows(panel, fitted, panel.end)
        with lake.overwriting(RESPONSE, None) as writer:
            writer.write(rows)
    currency = load_shop(get_settings()).currency
    return dg.MaterializeResult(
        metadata=table_metadata(RESPONSES, len(rows), inputs.snapshots)
        | {
            "days": len(panel.dates),
            "orders": int(panel.orders.sum()),
            "dispersion": fitted.dispersion,
            "exponent": told(fitted.exponent),
            "orders_for_one_credited": told(fitted.credit) if fitted.credit else "no orders are credited",
            "gain_of_a_held_out_week": told(fitted.held_out),
            "channels": markdown_table(
                ("channel", "return on spend", "share", "lasts to the next day", "shown"),
                [
                    (one.channel, told(one.return_on_spend), told(one.share), told(one.carry_over), one.is_shown)
                    for one in fitted.responses
                ],
            ),
            "curves": markdown_picture(pictures.curves(fitted.responses, currency)),
        },
        check_results=judge(fitted),
    )


def told(interval: Interval) -> str:
    """An interval in words."""
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def abstention(reason: str) -> dg.MaterializeResult:
    """Too little to fit a curve to, and why: the checks cannot judge yet."""
    return dg.MaterializeResult(
        metadata={"abstained": reason},
        check_results=[
            checked(
                name, True, expected=about, found="none", severity=severity, description=f"cannot judge yet: {reason}"
            )
            for name, (severity, about) in CHECKS.items()
        ],
    )


def judge(fitted: Fitted) -> list[dg.AssetCheckResult]:
    """The checks of a fit. One that does not tell held-out weeks warns: no budget is made of it, and none released."""
    broken = [
        f"{one.channel}: {name}"
        for one in fitted.responses
        for name in ("extra_orders", "share", "return_on_spend", "carry_over", "half_saturation")
        if not holds(getattr(one, name))
    ]
    total = sum(one.share.value for one in fitted.responses)
    found = {
        HELD_OUT: (
            fitted.is_shown,
            "a gain in log-likelihood a week above 0, with its 95 % interval",
            told(fitted.held_out),
            [],
        ),
        FINITE: (not broken, "finite intervals that hold their estimate", f"{len(broken)} others", broken),
        SHARES: (abs(total - 1) < 1e-9, "a sum of 1", f"a sum of {total:.12g}", []),
    }
    return [
        checked(name, passed, expected=expected, found=seen, samples=samples, severity=CHECKS[name][0])
        for name, (passed, expected, seen, samples) in found.items()
    ]


def holds(interval: Interval) -> bool:
    """Whether an interval is finite, has a width and holds its estimate or comes near to it.

    The estimate is that of the maximum, the interval that of the draws around it: a skew may part them a little.
    """
    width = interval.high - interval.low
    near = interval.low - width / 2 <= interval.value <= interval.high + width / 2
    return all(map(math.isfinite, interval)) and width > 0 and near
