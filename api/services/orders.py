"""An order at the checkout as the fraud model's features see it. The features are `ml_assets.core.features`' own."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np

from api.schemas.orders import Instrument, OrderAtCheckout, OrderedLine
from api.services.online import moment_of
from cartograph.releases.order_history import NO_KEY, key_of
from ml_assets.core.features.order_history import KINDS, OrderHistory
from ml_assets.core.features.order_ledger import UNCATEGORISED, Line, Placed, Value
from ml_assets.core.models.fraud import rules

_CENT = Decimal("0.01")


def placed(order: OrderAtCheckout, history: OrderHistory) -> Placed:
    """The order with keys for names.

    A product has the category that the history knows; one that it does not know has the given one, or none.
    Its total may be below 0, which is the caller's to refuse.
    """
    lines = tuple(
        Line(
            _category(line, history),
            line.quantity,
            line.unit_price,
            cents((line.quantity * line.unit_price).quantize(_CENT, ROUND_HALF_UP)),
        )
        for line in order.lines
    )
    gross, discount = sum(line.gross_cents for line in lines), cents(order.discount_amount)
    told = order.customer
    return Placed(
        order=key_of("order", order.order_id),
        us=moment_of(order.placed_at),
        customer=key("customer", order.customer_id),
        card=key("card", order.card),
        device=key("device", order.device),
        network=key("network", order.network),
        address=int(told.address_token, 16) or 1 if told and told.address_token else None,
        registered_us=moment_of(told.registered_at) if told and told.registered_at else None,
        city=key("city", told.city or None) if told and told.city is not None else None,
        country=key("country", told.country or None) if told and told.country is not None else None,
        ship_city=key("city", order.ship_city or None),
        ship_country=key("country", order.ship_country or None),
        gross_cents=gross,
        discount_cents=discount,
        total_cents=gross - discount + cents(order.shipping_amount),
        lines=lines,
    )


def _category(line: OrderedLine, history: OrderHistory) -> int:
    known = history.category(key_of("product", line.product_id))
    if known is not None:
        return known
    return UNCATEGORISED if line.category is None else key_of("category", line.category)


def key(kind: str, name: str | None) -> int:
    """The key of a name, or none."""
    return NO_KEY if name is None else key_of(kind, name)


def cents(amount: Decimal) -> int:
    """An amount in hundredths."""
    return int(amount * 100)


def broken_rules(features: Mapping[str, Value]) -> list[str]:
    """The names of the rules of thumb that an order breaks."""
    broken = rules(lambda name: np.array([features[name] or 0.0], np.float64))
    return [name for name, fired in broken.items() if fired[0]]


def instruments(features: Mapping[str, Any]) -> dict[str, Instrument]:
    """What the order shows, as far as it does."""
    return {
        kind: Instrument(
            others=features[f"{kind}_others"],
            orders_24h=features[f"{kind}_orders_24h"],
            is_new=None if (new := features.get(f"is_new_{kind}")) is None else bool(new),
        )
        for kind in KINDS
        if features[f"{kind}_others"] is not None
    }
