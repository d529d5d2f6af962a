"""Contract of the clickstream, with the e-mails that were sent, opened and clicked."""

from cartograph.contracts import Column, Contract, Rule

EVENT_TYPES = (
    "page_view",
    "product_view",
    "add_to_cart",
    "checkout",
    "purchase",
    "email_sent",
    "email_open",
    "email_click",
)

EVENTS = Contract(
    dataset="events",
    grain="A clickstream or e-mail event.",
    key=("event_id",),
    event_time="occurred_at",
    received_time="received_at",
    steady="event_type NOT LIKE 'email%'",
    enables="sessions, funnels, attribution, behavioural features and campaign effects",
    columns=(
        Column(name="event_id", type="string", description="The event's number."),
        Column(name="occurred_at", type="timestamp", description="When it happened."),
        Column(name="received_at", type="timestamp", description="When it reached the shop; events may be late."),
        Column(name="event_type", type="string", accepted=EVENT_TYPES, description="What happened."),
        Column(name="visitor_id", type="string", pii="device", description="Same for the same browser."),
        Column(name="customer_id", type="string", nullable=True, description="Who, where logged in or addressed."),
        Column(name="device", type="string", nullable=True, description="Device class: desktop, mobile or tablet."),
        Column(name="channel", type="string", nullable=True, description="Marketing channel of the visit."),
        Column(
            name="campaign_id",
            type="string",
            nullable=True,
            volatile=True,
            description="Campaign of the visit or e-mail.",
        ),
        Column(name="product_id", type="string", nullable=True, description="The product concerned."),
        Column(name="order_id", type="string", nullable=True, description="The order, of a purchase."),
    ),
    rules=(
        Rule(name="received_after_occurred", sql="received_at >= occurred_at", message="received before it happened"),
        Rule(
            name="purchase_has_order",
            sql="event_type <> 'purchase' OR order_id IS NOT NULL",
            message="a purchase names its order",
        ),
        Rule(
            name="email_has_customer",
            sql="event_type NOT LIKE 'email%' OR (customer_id IS NOT NULL AND campaign_id IS NOT NULL)",
            message="an e-mail event names its customer and campaign",
        ),
    ),
)
