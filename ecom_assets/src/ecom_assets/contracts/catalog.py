"""Contracts of the datasets about goods: products and their stock."""

from cartograph.contracts import Column, Contract, Reference, Rule

PRODUCTS = Contract(
    dataset="products",
    grain="A version of a product: what held from `updated_at` on.",
    key=("product_id", "updated_at"),
    event_time="updated_at",
    steady="false",
    required=True,
    columns=(
        Column(name="product_id", type="string", description="The stock-keeping unit."),
        Column(name="updated_at", type="timestamp", description="From when this version holds."),
        Column(name="name", type="string", nullable=True, description="Name in the shop."),
        Column(name="category", type="string", nullable=True, description="Category."),
        Column(name="brand", type="string", nullable=True, description="Brand."),
        Column(name="list_price", type="price", nullable=True, description="Price of one unit, before discounts."),
        Column(name="unit_cost", type="price", nullable=True, description="What one unit costs the shop."),
        Column(name="is_active", type="boolean", description="Is on sale."),
    ),
    rules=(
        Rule(name="list_price_not_negative", sql="list_price >= 0", message="a list price cannot be negative"),
        Rule(name="unit_cost_not_negative", sql="unit_cost >= 0", message="a cost cannot be negative"),
    ),
)

INVENTORY = Contract(
    dataset="inventory",
    grain="The stock of a product at the end of a day.",
    key=("product_id", "snapshot_date"),
    event_time="snapshot_date",
    enables="stock reports and reorder advice",
    columns=(
        Column(name="product_id", type="string", description="The stock-keeping unit."),
        Column(name="snapshot_date", type="date", description="The day (UTC) at whose end the stock was counted."),
        Column(name="quantity_on_hand", type="bigint", description="Units in stock at the end of the day."),
        Column(name="quantity_received", type="bigint", nullable=True, description="Units that arrived that day."),
    ),
    rules=(
        Rule(name="stock_not_negative", sql="quantity_on_hand >= 0", message="stock cannot be negative"),
        Rule(name="received_not_negative", sql="quantity_received >= 0", message="receipts cannot be negative"),
    ),
    references=(Reference(column="product_id", dataset="products", to_column="product_id"),),
)
