"""What a metric of a shop's experiment can be made of: outcomes of customers, each a SELECT over published marts.

Each gives `customer_id`, `happened_at` and `amount`; a customer's outcome is the sum over a stretch of time.
"""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """An outcome: the mart that it is read from, its SELECT without FROM, its unit, and what it is in words."""

    mart: str
    select: str
    is_money: bool
    about: str


def _of_lines(amount: str, about: str, *, is_money: bool = True) -> Outcome:
    select = f"SELECT customer_id, ordered_at AS happened_at, {amount} AS amount {{source}} WHERE NOT is_cancelled"
    return Outcome("fct_order_items", select, is_money, about)


def _of_orders(amount: str, about: str, *, is_money: bool = True) -> Outcome:
    select = f"SELECT customer_id, ordered_at AS happened_at, {amount} AS amount {{source}} WHERE NOT is_cancelled"
    return Outcome("fct_orders", select, is_money, about)


OUTCOMES = {
    "orders": _of_orders("1", "orders that stand", is_money=False),
    "items": _of_lines("quantity", "units bought", is_money=False),
    "net_revenue": _of_lines("net_amount", "paid for goods, after discounts"),
    "margin": _of_lines("coalesce(margin_amount, 0)", "net revenue less the cost of the goods, where it is known"),
    "discount": _of_lines("discount_amount", "discounts given"),
    "shipping": _of_orders("shipping_amount", "paid for shipping"),
    "refunds": Outcome(
        "fct_refunds", "SELECT customer_id, refunded_at AS happened_at, amount {source}", True, "paid back"
    ),
    "visits": Outcome(
        "fct_sessions",
        "SELECT customer_id, started_at AS happened_at, 1 AS amount {source}",
        False,
        "visits while logged in, or known by the device",
    ),
}
