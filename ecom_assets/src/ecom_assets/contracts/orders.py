"""Contracts of the datasets about sales: orders, their lines, payments and refunds.

Money ties out: an order's total is its lines' gross, less discounts, plus shipping, and equals its captured payments.
"""

from cartograph.contracts import Column, Contract, Reference, Rule

ORDERS = Contract(
    dataset="orders",
    grain="A version of an order; the latest `updated_at` wins.",
    key=("order_id", "updated_at"),
    event_time="ordered_at",
    required=True,
    columns=(
        Column(name="order_id", type="string", description="The order's number."),
        Column(name="updated_at", type="timestamp", description="When this version was written."),
        Column(name="ordered_at", type="timestamp", description="When the order was placed."),
        Column(name="customer_id", type="string", nullable=True, description="Who ordered; null for a guest."),
        Column(
            name="status",
            type="string",
            accepted=("placed", "shipped", "completed", "cancelled"),
            volatile=True,
            rare=("cancelled",),
            description="State of the order in this version.",
        ),
        Column(name="channel", type="string", nullable=True, description="Marketing channel of the ordering visit."),
        Column(name="device", type="string", nullable=True, description="Device class of the ordering visit."),
        Column(
            name="campaign_id",
            type="string",
            nullable=True,
            volatile=True,
            description="Campaign of the ordering visit.",
        ),
        Column(
            name="coupon_code",
            type="string",
            nullable=True,
            volatile=True,
            description="Coupon that gave the discount.",
        ),
        Column(name="subtotal_amount", type="money", description="Sum of the lines, before discounts."),
        Column(
            name="discount_amount",
            type="money",
            volatile=True,
            description="Sum of the lines' discounts; not negative.",
        ),
        Column(name="shipping_amount", type="money", description="Charged for shipping."),
        Column(name="total_amount", type="money", description="subtotal - discount + shipping."),
        Column(name="shipping_city", type="string", nullable=True, description="City that it was sent to."),
        Column(
            name="shipping_postal_code",
            type="string",
            nullable=True,
            pii="address",
            description="Postal code that it was sent to.",
        ),
        Column(name="shipping_country", type="string", nullable=True, description="Country that it was sent to."),
    ),
    rules=(
        Rule(
            name="total_ties_out",
            sql="total_amount = subtotal_amount - discount_amount + shipping_amount",
            message="total must be subtotal - discount + shipping",
        ),
        Rule(
            name="amounts_not_negative",
            sql="least(subtotal_amount, discount_amount, shipping_amount, total_amount) >= 0",
            message="amounts cannot be negative; a credit is a refund",
        ),
        Rule(
            name="ordered_before_updated",
            sql="ordered_at <= updated_at",
            message="a version cannot be older than its order",
        ),
    ),
    references=(Reference(column="customer_id", dataset="customers", to_column="customer_id"),),
)

ORDER_ITEMS = Contract(
    dataset="order_items",
    grain="An order line.",
    key=("order_id", "line_number"),
    event_time="ordered_at",
    required=True,
    columns=(
        Column(name="order_id", type="string", description="The order."),
        Column(name="line_number", type="bigint", description="The line's number in the order, from 1."),
        Column(
            name="ordered_at",
            type="timestamp",
            description="When the order was placed: the order's own time, also where the source has one for each line.",
        ),
        Column(name="product_id", type="string", description="The product."),
        Column(name="quantity", type="bigint", description="Units ordered."),
        Column(name="unit_price", type="price", description="Price of one unit, before the line's discount."),
        Column(name="discount_amount", type="money", volatile=True, description="Taken off the line; not negative."),
    ),
    rules=(
        Rule(name="quantity_positive", sql="quantity > 0", message="a line needs at least one unit"),
        Rule(name="price_not_negative", sql="unit_price >= 0", message="a price cannot be negative"),
        Rule(
            name="discount_within_line",
            sql="discount_amount BETWEEN 0 AND round(quantity * unit_price, 2)",
            message="a discount is between zero and the line's worth",
        ),
        Rule(name="line_number_positive", sql="line_number >= 1", message="lines are numbered from 1"),
    ),
    references=(
        Reference(column="order_id", dataset="orders", to_column="order_id", alike="ordered_at"),
        Reference(column="product_id", dataset="products", to_column="product_id"),
    ),
)

PAYMENTS = Contract(
    dataset="payments",
    grain="A payment attempt.",
    key=("payment_id",),
    event_time="paid_at",
    enables="payment reconciliation, payment mix and fraud features",
    columns=(
        Column(name="payment_id", type="string", description="The attempt's number."),
        Column(name="order_id", type="string", description="The order."),
        Column(name="paid_at", type="timestamp", description="When it was tried."),
        Column(name="method", type="string", description="Payment method, e.g. card, paypal, invoice."),
        Column(name="status", type="string", accepted=("captured", "declined"), description="How it ended."),
        Column(name="amount", type="money", description="Amount tried; not negative."),
        Column(
            name="card_fingerprint", type="string", nullable=True, pii="payment", description="Same for the same card."
        ),
        Column(name="device_id", type="string", nullable=True, pii="device", description="Same for the same device."),
        Column(name="ip_address", type="string", nullable=True, pii="device", description="Address of the payer."),
    ),
    rules=(Rule(name="amount_not_negative", sql="amount >= 0", message="an amount cannot be negative"),),
    references=(Reference(column="order_id", dataset="orders", to_column="order_id"),),
)

REFUNDS = Contract(
    dataset="refunds",
    grain="A refunded line.",
    key=("refund_id",),
    event_time="refunded_at",
    enables="net revenue, return rates and chargeback labels",
    columns=(
        Column(name="refund_id", type="string", description="The refund's number."),
        Column(
            name="credit_note_id",
            type="string",
            nullable=True,
            description="The document that grants it; lines of one document share it.",
        ),
        Column(name="refunded_at", type="timestamp", description="When it was granted."),
        Column(name="order_id", type="string", nullable=True, description="The order, where the source links it."),
        Column(name="line_number", type="bigint", nullable=True, description="The order line, where linked."),
        Column(
            name="customer_id",
            type="string",
            nullable=True,
            description="Who got it; where null, its order's customer.",
        ),
        Column(
            name="product_id", type="string", nullable=True, description="The product; where null, that of its line."
        ),
        Column(name="quantity", type="bigint", description="Units returned."),
        Column(name="unit_price", type="price", description="Price refunded for one unit."),
        Column(name="amount", type="money", description="Amount refunded; not negative."),
        Column(name="reason", type="string", nullable=True, description="Why, e.g. return, damaged, chargeback."),
    ),
    rules=(
        Rule(name="quantity_positive", sql="quantity > 0", message="a refund needs at least one unit"),
        Rule(name="amount_not_negative", sql="amount >= 0", message="an amount cannot be negative"),
    ),
    references=(
        Reference(column="order_id", dataset="orders", to_column="order_id"),
        Reference(column="product_id", dataset="products", to_column="product_id"),
    ),
)
