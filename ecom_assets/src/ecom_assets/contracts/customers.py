"""Contracts of the datasets about people: customers and their reviews."""

from cartograph.contracts import Column, Contract, Reference, Rule

TIERS = ("bronze", "silver", "gold", "platinum")

CUSTOMERS = Contract(
    dataset="customers",
    grain="A version of a customer: what was known of them from `updated_at` on.",
    key=("customer_id", "updated_at"),
    event_time="updated_at",
    steady="updated_at = registered_at",
    required=True,
    columns=(
        Column(name="customer_id", type="string", description="The customer's number in the shop."),
        Column(name="updated_at", type="timestamp", description="From when this version holds."),
        Column(name="registered_at", type="timestamp", description="When the customer registered or first bought."),
        Column(name="email", type="string", nullable=True, pii="email", description="E-mail address."),
        Column(name="first_name", type="string", nullable=True, pii="name", description="Given name."),
        Column(name="last_name", type="string", nullable=True, pii="name", description="Family name."),
        Column(name="phone", type="string", nullable=True, pii="phone", description="Telephone number."),
        Column(name="birth_date", type="date", nullable=True, pii="birth_date", description="Date of birth."),
        Column(name="street", type="string", nullable=True, pii="address", description="Street and house number."),
        Column(name="city", type="string", nullable=True, description="City."),
        Column(name="region", type="string", nullable=True, description="State, province or county."),
        Column(name="postal_code", type="string", nullable=True, pii="address", description="Postal code."),
        Column(name="country", type="string", nullable=True, description="Country, as the shop writes it."),
        Column(name="loyalty_tier", type="string", nullable=True, accepted=TIERS, description="Loyalty tier."),
        Column(name="acquisition_channel", type="string", nullable=True, description="Channel that won the customer."),
        Column(name="is_email_opt_in", type="boolean", nullable=True, description="May be sent marketing e-mail."),
    ),
    rules=(
        Rule(
            name="registered_before_updated",
            sql="registered_at <= updated_at",
            message="a version cannot hold before the customer registered",
        ),
        Rule(
            name="born_before_registered",
            sql="birth_date < registered_at",
            message="a customer cannot have registered before their birth",
        ),
        Rule(name="email_has_at_sign", sql="email LIKE '%_@_%'", message="an e-mail address has the form name@domain"),
    ),
)

REVIEWS = Contract(
    dataset="reviews",
    grain="A review.",
    key=("review_id",),
    event_time="reviewed_at",
    enables="review features",
    columns=(
        Column(name="review_id", type="string", description="The review's number."),
        Column(name="reviewed_at", type="timestamp", description="When it was written."),
        Column(name="product_id", type="string", description="The product reviewed."),
        Column(name="customer_id", type="string", nullable=True, description="Who wrote it, where known."),
        Column(name="order_id", type="string", nullable=True, description="The order in which it was bought."),
        Column(name="rating", type="bigint", description="Stars, 1 to 5."),
        Column(name="body", type="string", nullable=True, pii="free_text", description="The text."),
    ),
    rules=(Rule(name="rating_1_to_5", sql="rating BETWEEN 1 AND 5", message="a rating is 1 to 5 stars"),),
    references=(Reference(column="product_id", dataset="products", to_column="product_id"),),
)
