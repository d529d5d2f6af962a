"""Responses and budgets in the forms in which they are stored and released. How they are found is `response`'s business
and `allocation`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import pyarrow as pa
from pydantic import TypeAdapter

from cartograph.contracts import Column, Contract
from cartograph.releases.contents.causal import Budget, BudgetLine, ChannelResponse, Estimated
from ml_assets.core.budget.allocation import Allocation
from ml_assets.core.budget.panel import Panel
from ml_assets.core.budget.response import Fitted, Response
from ml_assets.core.evaluation.classification import Interval

CHANNEL = Column(name="channel", type="string", description="The paid channel.")
AS_OF = Column(name="as_of_date", type="date", description="The day after the last that was learned from (UTC).")


def _interval(name: str, of: str) -> tuple[Column, ...]:
    return (
        Column(name=name, type="double", description=of),
        Column(name=f"{name}_low", type="double", description="Lower end of its 95 % interval."),
        Column(name=f"{name}_high", type="double", description="Upper end of its 95 % interval."),
    )


RESPONSES = Contract(
    dataset="channel_response",
    grain="A paid channel.",
    key=("channel",),
    columns=(
        CHANNEL,
        AS_OF,
        Column(name="spend_amount", type="double", description="Spent over all days that were learned from."),
        *_interval("extra_orders", "Orders that it caused over all days."),
        *_interval("share", "Its part of all orders that paid channels caused."),
        *_interval("return_on_spend", "Revenue that it caused for one unit of currency spent."),
        *_interval("carry_over", "Share of its effect that lasts to the next day."),
        *_interval("half_saturation", "Daily spend at which it adds half of the most that it can."),
        Column(name="highest_spend", type="double", description="Daily spend up to which its curve is known."),
        Column(name="is_shown", type="boolean", description="The orders cannot be explained without it."),
        Column(name="fit_is_shown", type="boolean", description="Held-out weeks are told better with the channels."),
        Column(name="revenue_of_order", type="double", description="Mean total of an order of these days."),
        Column(
            name="margin_rate",
            type="double",
            nullable=True,
            description="Margin of a unit of revenue; null where the shop knows no cost.",
        ),
        Column(name="response", type="string", description="The whole response with its draws, as JSON."),
    ),
)

ALLOCATIONS = Contract(
    dataset="budget_allocation",
    grain="A paid channel.",
    key=("channel",),
    columns=(
        CHANNEL,
        AS_OF,
        Column(name="today_amount", type="double", description="Mean daily spend of the last quarter."),
        Column(name="proposed_amount", type="double", description="Daily spend that is expected to earn most."),
        Column(name="proposed_low", type="double", description="95 % of the budgets that are best lie above it."),
        Column(name="proposed_high", type="double", description="And below it."),
        Column(name="margin_today", type="double", description="Margin that one more unit of currency adds today."),
        Column(name="margin_proposed", type="double", description="And at the proposed spend."),
        Column(name="is_capped", type="boolean", description="More is not proposed: nobody has seen more being spent."),
        Column(name="budget", type="string", description="The whole budget as JSON, in the form of a release."),
    ),
)

_RESPONSE = TypeAdapter(Response)


def response_rows(panel: Panel, fitted: Fitted, as_of: date) -> pa.Table:
    """The responses as the rows of their table."""
    rows = [
        {
            "channel": one.channel,
            "as_of_date": as_of,
            "spend_amount": one.spend,
            **_columns("extra_orders", one.extra_orders),
            **_columns("share", one.share),
            **_columns("return_on_spend", one.return_on_spend),
            **_columns("carry_over", one.carry_over),
            **_columns("half_saturation", one.half_saturation),
            "highest_spend": one.highest,
            "is_shown": one.is_shown,
            "fit_is_shown": fitted.is_shown,
            "revenue_of_order": panel.revenue_of_order,
            "margin_rate": panel.margin_rate,
            "response": _RESPONSE.dump_json(one).decode(),
        }
        for one in fitted.responses
    ]
    return pa.Table.from_pylist(rows, schema=RESPONSES.arrow_schema())


def responses_of(rows: pa.Table) -> tuple[Response, ...]:
    """The responses that `response_rows` stored."""
    return tuple(_RESPONSE.validate_json(text) for text in rows["response"].to_pylist())


def budget_of(responses: Iterable[Response], found: Allocation, as_of: date, currency: str) -> Budget:
    """Responses and proposal in the form of a release."""
    return Budget(
        as_of=as_of,
        currency=currency,
        margin_of_order=found.margin_of_order,
        channels=tuple(
            ChannelResponse(
                channel=one.channel,
                spend=one.spend,
                extra_orders=estimated(one.extra_orders),
                share=estimated(one.share),
                return_on_spend=estimated(one.return_on_spend),
                carry_over=estimated(one.carry_over),
                half_saturation=estimated(one.half_saturation),
                most=one.curve.most,
                exponent=one.curve.exponent,
                highest_spend=one.highest,
                is_shown=one.is_shown,
            )
            for one in responses
        ),
        lines=tuple(
            BudgetLine(
                channel=line.channel,
                today=line.today,
                proposed=line.proposed,
                likely=(line.low, line.high),
                least=line.least,
                most=line.most,
                margin_today=line.return_today,
                margin_proposed=line.return_proposed,
                is_capped=line.is_capped,
            )
            for line in found.lines
        ),
        total_most=found.total_most,
        profit_today=estimated(found.profit_today),
        profit=estimated(found.profit),
        gain=estimated(found.gain),
        is_shown=found.is_shown,
    )


def allocation_rows(budget: Budget) -> pa.Table:
    """The budget as the rows of its table."""
    text = budget.model_dump_json()
    rows = [
        {
            "channel": line.channel,
            "as_of_date": budget.as_of,
            "today_amount": line.today,
            "proposed_amount": line.proposed,
            "proposed_low": line.likely[0],
            "proposed_high": line.likely[1],
            "margin_today": line.margin_today,
            "margin_proposed": line.margin_proposed,
            "is_capped": line.is_capped,
            "budget": text,
        }
        for line in budget.lines
    ]
    return pa.Table.from_pylist(rows, schema=ALLOCATIONS.arrow_schema())


def estimated(interval: Interval) -> Estimated:
    """An interval in the form of a release."""
    return Estimated(value=interval.value, low=interval.low, high=interval.high)


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
