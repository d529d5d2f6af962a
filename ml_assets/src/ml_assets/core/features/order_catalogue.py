"""The catalogue of order-risk features: the one definition of each feature's name, type, unit and meaning.

How the values are computed is in `order_risk`; a test holds the two together.
"""

from __future__ import annotations

from cartograph.contracts import Column
from ml_assets.core.features.definition import Feature, FeatureTable

_GUEST = "a guest, whose history is not known"
_FIRST = f"the customer's first order, or {_GUEST}"
_NO_CARD = "the first payment attempt was not by card, or there is none"
_NO_DEVICE = "the device is not known"
_NO_NETWORK = "the internet address is not known"
_NO_ADDRESS = "a guest, or a customer without a street on file"


def _sharing(instrument: str, null_means: str, used: str) -> tuple[Feature, ...]:
    """How many others were seen with an instrument of the order, and how fast it is used."""
    return (
        Feature(
            name=f"{instrument}_others",
            type="bigint",
            unit="customers",
            description=f"Other registered customers who had ordered {used} before.",
            null_means=null_means,
        ),
        Feature(
            name=f"{instrument}_orders_24h",
            type="bigint",
            unit="orders",
            description=f"Orders of anybody {used} in the 24 hours before.",
            null_means=null_means,
        ),
    )


_FEATURES = (
    Feature(name="is_guest", type="bigint", unit="0 or 1", maximum=1, description="Whether a guest orders."),
    Feature(
        name="is_first_order",
        type="bigint",
        unit="0 or 1",
        maximum=1,
        description="Whether the customer has not ordered before; always 1 for a guest.",
    ),
    Feature(
        name="registered_hours",
        type="double",
        unit="hours",
        description="Since the customer registered.",
        null_means=f"{_GUEST}; or the shop does not say",
    ),
    Feature(name="tenure_days", type="double", unit="days", description="Since the first order.", null_means=_FIRST),
    Feature(
        name="hours_since_order", type="double", unit="hours", description="Since the order before.", null_means=_FIRST
    ),
    Feature(name="orders_1h", type="bigint", unit="orders", description="The customer's in the hour before."),
    Feature(name="orders_24h", type="bigint", unit="orders", description="The customer's in the 24 hours before."),
    Feature(name="orders_7d", type="bigint", unit="orders", description="The customer's in the 7 days before."),
    Feature(name="orders_before", type="bigint", unit="orders", description="All of the customer's before."),
    *_sharing("card", _NO_CARD, "with the same card"),
    *_sharing("device", _NO_DEVICE, "from the same device"),
    *_sharing("network", _NO_NETWORK, "from the same internet address"),
    *_sharing("address", _NO_ADDRESS, "with the same address on file"),
    Feature(
        name="is_new_card",
        type="bigint",
        unit="0 or 1",
        maximum=1,
        description="Whether the customer has not ordered with this card before; always 1 for a guest.",
        null_means=_NO_CARD,
    ),
    Feature(
        name="is_new_device",
        type="bigint",
        unit="0 or 1",
        maximum=1,
        description="Whether the customer has not ordered from this device before; always 1 for a guest.",
        null_means=_NO_DEVICE,
    ),
    Feature(
        name="linked_customers",
        type="bigint",
        unit="customers",
        description=(
            "Registered customers whom this order and those before link by shared cards, devices and addresses, "
            "over any number of steps; the customer counts as one."
        ),
    ),
    Feature(
        name="linked_chargebacks",
        type="bigint",
        unit="orders",
        description="Orders of the linked customers, or of guests linked to them, that were charged back before.",
    ),
    Feature(
        name="is_by_card",
        type="bigint",
        unit="0 or 1",
        maximum=1,
        description="Whether the first payment attempt was by card.",
    ),
    Feature(
        name="declined_7d",
        type="bigint",
        unit="attempts",
        description="Declined payments in the 7 days before, for earlier orders of the customer.",
    ),
    Feature(
        name="card_declined_7d",
        type="bigint",
        unit="attempts",
        description="Declined payments of anybody with the same card in the 7 days before.",
        null_means=_NO_CARD,
    ),
    Feature(
        name="is_sent_elsewhere",
        type="bigint",
        unit="0 or 1",
        maximum=1,
        description="Whether it is sent to another city or country than that of the customer's address on file.",
        null_means="a guest, a country that is not known, or within the country a city that is not",
    ),
    Feature(name="total_amount", type="double", unit="shop currency", description="What is to be paid."),
    Feature(
        name="amount_to_own_mean",
        type="double",
        unit="ratio",
        description="total_amount over the mean of the customer's orders before.",
        null_means=f"{_FIRST}; or those before cost nothing",
    ),
    Feature(
        name="amount_to_shop_mean",
        type="double",
        unit="ratio",
        description="total_amount over the mean of all orders of the 30 days before the order's day.",
        null_means="the shop sold nothing in those days",
    ),
    Feature(
        name="discount_share",
        type="double",
        unit="share, 0 to 1",
        maximum=1,
        description="Discount over gross amount; 1 where it covers shipping, too.",
        null_means="the order is of no worth",
    ),
    Feature(name="units_count", type="bigint", unit="units", description="Units ordered."),
    Feature(name="lines_count", type="bigint", unit="lines", description="Order lines."),
    Feature(name="largest_line_units", type="bigint", unit="units", description="Units of the line that has the most."),
    Feature(name="dearest_unit_price", type="double", unit="shop currency", description="Highest price of a unit."),
    Feature(name="categories_count", type="bigint", unit="categories", description="Different categories ordered."),
    Feature(
        name="new_category_share",
        type="double",
        unit="share, 0 to 1",
        maximum=1,
        description="Share of the gross amount in categories that the customer had not ordered from before.",
        null_means=f"{_FIRST}; or the order is of no worth",
    ),
    Feature(
        name="hour_of_day", type="bigint", unit="hour, 0 to 23 (UTC)", maximum=23, description="When it was placed."
    ),
    Feature(
        name="events_1h",
        type="bigint",
        unit="events",
        description="Of the customer, received by the shop in the hour before; purchases and e-mails do not count.",
        null_means=_GUEST,
        needs="fct_events",
    ),
    Feature(
        name="visit_minutes",
        type="double",
        unit="minutes",
        maximum=60,
        description="Since the shop received the first of the events that events_1h counts.",
        null_means=f"there is none; or {_GUEST}",
        needs="fct_events",
    ),
)

ORDER_RISK = FeatureTable(
    name="order_risk",
    grain=(
        "An order, with what was known when it was placed: orders, payments, chargebacks and events before that "
        "moment, and of the order itself the basket and the card and device of its first payment attempt."
    ),
    key=("order_id", "order_date"),
    event_time="order_date",
    columns=(
        Column(name="order_id", type="string", description="The order."),
        Column(name="order_date", type="date", description="The day of the order (UTC)."),
        Column(name="ordered_at", type="timestamp", description="When the order was placed; later facts do not count."),
        Column(name="customer_id", type="string", nullable=True, description="Who ordered; null for a guest."),
    ),
    features=_FEATURES,
)
"""All features of an order's risk."""
