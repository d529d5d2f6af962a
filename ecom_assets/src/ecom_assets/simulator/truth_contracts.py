"""The shape of the truth: a contract for each table of `truth/*`, in the vocabulary of the raw datasets' contracts.

What each table and column means stands here; how it is filled, in `truth`. The truth is for checks and tests alone:
no model may read it.
"""

from __future__ import annotations

from cartograph.contracts import Column, Contract
from ecom_assets.contracts.customers import TIERS

_CUSTOMER = Column(name="customer_id", type="string", description="The customer.")
_PRODUCT = Column(name="product_id", type="string", description="The product.")
_CAMPAIGN = Column(name="campaign_id", type="string", description="The e-mail campaign.")
_CHANNEL = Column(name="channel", type="string", description="The paid channel.")
_CATEGORY = Column(name="category", type="string", description="The category.")
_DAY = Column(name="date_day", type="date", description="The day (UTC).")

_TABLES = (
    Contract(
        dataset="parameters",
        grain="A parameter of the simulated shop.",
        key=("parameter",),
        columns=(
            Column(name="parameter", type="string", description="Its name, e.g. bgnbd_r."),
            Column(name="value", type="double", description="Its value."),
            Column(name="description", type="string", description="What it governs, with its unit."),
        ),
    ),
    Contract(
        dataset="customers",
        grain="A customer.",
        key=("customer_id",),
        columns=(
            _CUSTOMER,
            Column(name="registered_at", type="timestamp", description="When the customer registered."),
            Column(name="purchase_rate", type="double", description="Repeat purchases for a day of average business."),
            Column(name="dropout_probability", type="double", description="Chance to leave after a repeat purchase."),
            Column(name="dropped_at", type="timestamp", nullable=True, description="When they left; null: not yet."),
            Column(name="mean_order_amount", type="double", description="Mean planned spend of an order, in euros."),
            Column(name="margin_rate", type="double", description="Expected margin on list prices, as a share."),
            Column(name="persona", type="string", description="The behavioural type."),
            Column(name="style", type="string", description="The style of product that they prefer."),
            Column(name="favourite_category", type="string", description="The category that they want most."),
            Column(name="favourite_category_share", type="double", description="Its share of what they want."),
            Column(name="ring_id", type="string", nullable=True, description="The fraud ring; null for the honest."),
        ),
    ),
    Contract(
        dataset="categories",
        grain="A category.",
        key=("category",),
        columns=(
            _CATEGORY,
            Column(name="price_elasticity", type="double", description="Elasticity of units to a product's price."),
            Column(name="sold_elasticity", type="double", description="That of what is sold, against its category."),
            Column(name="display_lift", type="double", description="Factor on demand of a promotion beside its price."),
            Column(name="season_amplitude", type="double", description="Relative height of the yearly season."),
            Column(name="peak_day_of_year", type="bigint", description="Day of the year of the season's peak."),
            Column(name="demand_share", type="double", description="Share of demand at base prices, out of season."),
        ),
    ),
    Contract(
        dataset="discount_effects",
        grain="A category and a promotion's discount.",
        key=("category", "discount_pct"),
        columns=(
            _CATEGORY,
            Column(name="discount_pct", type="bigint", description="Discount in percent."),
            Column(name="units_factor", type="double", description="Factor on units: price response times display."),
            Column(name="margin_factor", type="double", description="Factor on margin, at base price and mean cost."),
            Column(name="sold_factor", type="double", description="Factor on what is sold, against its category."),
            Column(
                name="earned_factor", type="double", description="That on margin, at the prices and costs of sales."
            ),
        ),
    ),
    Contract(
        dataset="products",
        grain="A product.",
        key=("product_id",),
        columns=(
            _PRODUCT,
            _CATEGORY,
            Column(name="style", type="string", description="The style."),
            Column(name="base_price", type="price", description="The price at which demand is as its popularity."),
            Column(name="popularity", type="double", description="Share of demand at base prices, out of season."),
            Column(name="launched_on", type="date", description="First day on sale."),
            Column(name="discontinued_on", type="date", nullable=True, description="First day no longer on sale."),
            Column(name="partner_product_id", type="string", description="The product often bought along with it."),
        ),
    ),
    Contract(
        dataset="seasonality",
        grain="A day.",
        key=("date_day",),
        columns=(
            _DAY,
            Column(name="weekly_factor", type="double", description="Factor of the weekday."),
            Column(name="yearly_factor", type="double", description="Factor of the time of year."),
            Column(name="trend_factor", type="double", description="Factor of the trend."),
            Column(name="promotion_factor", type="double", description="Factor of sales of the whole shop."),
            Column(name="paid_factor", type="double", description="Factor of paid marketing."),
            Column(name="demand_index", type="double", description="Product of the factors, scaled to a mean of 1."),
        ),
    ),
    Contract(
        dataset="promotions",
        grain="A sale of the whole shop.",
        key=("promotion",),
        columns=(
            Column(name="promotion", type="string", description="Its name."),
            Column(name="starts_on", type="date", description="First day."),
            Column(name="ends_on", type="date", description="The day after the last."),
            Column(name="demand_factor", type="double", description="Factor on the number of orders."),
            Column(name="discount_pct", type="bigint", description="Discount on included categories, in percent."),
            Column(name="is_every_category", type="boolean", description="Includes all categories, not half of them."),
        ),
    ),
    Contract(
        dataset="stockouts",
        grain="A spell in which a product could not be bought.",
        key=("product_id", "starts_on"),
        columns=(
            _PRODUCT,
            Column(name="starts_on", type="date", description="First day; what was in stock is withdrawn."),
            Column(name="ends_on", type="date", description="The day after the last."),
            Column(name="weak_until", type="date", description="Until before this day, later demand is weakened."),
            Column(name="later_units_factor", type="double", description="Factor on how wanted it is until then."),
            Column(name="later_sold_factor", type="double", description="Factor on what is sold of it until then."),
        ),
    ),
    Contract(
        dataset="campaigns",
        grain="An e-mail campaign and its average effect.",
        key=("campaign_id",),
        columns=(
            _CAMPAIGN,
            Column(
                name="design",
                type="string",
                accepted=("randomised", "confounded_observed", "confounded_unobserved", "no_overlap"),
                description="How the treated were chosen.",
            ),
            Column(name="is_identified", type="boolean", description="Can the effect be found from the datasets?"),
            Column(name="started_at", type="timestamp", description="When sending began."),
            Column(name="effect_days", type="bigint", description="Days in which it has an effect."),
            Column(name="eligible_customers", type="bigint", description="Opted in and registered at the start."),
            Column(name="treated_customers", type="bigint", description="Of these, who got the e-mail."),
            Column(name="ate_orders", type="double", description="Mean effect on orders, over the eligible."),
            Column(name="ate_spend", type="double", description="Mean effect on totals, not cancelled, euros."),
            Column(name="att_spend", type="double", description="The same over the treated."),
            Column(name="ate_spend_se", type="double", description="Standard error of ate_spend by its simulation."),
        ),
    ),
    Contract(
        dataset="campaign_effects",
        grain="A customer who was eligible for an e-mail campaign.",
        key=("campaign_id", "customer_id"),
        columns=(
            _CAMPAIGN,
            _CUSTOMER,
            Column(name="is_treated", type="boolean", description="Got the e-mail."),
            Column(name="propensity", type="double", description="The chance to get it, given all, hidden or not."),
            Column(name="effect_orders", type="double", description="Expected extra orders if treated."),
            Column(name="effect_spend", type="double", description="Expected extra spend if treated, euros."),
        ),
    ),
    Contract(
        dataset="channels",
        grain="A paid channel.",
        key=("channel",),
        columns=(
            _CHANNEL,
            Column(name="spend_amount", type="money", description="Spent over all dates."),
            Column(name="incremental_orders", type="double", description="Orders that it caused."),
            Column(name="incremental_revenue", type="double", description="Totals of these, not cancelled, in euros."),
            Column(name="incremental_share", type="double", description="Its part of all incremental revenue."),
            Column(name="revenue_share", type="double", description="Its part of all revenue."),
            Column(name="return_on_spend", type="double", description="Incremental revenue for a euro spent."),
            Column(name="uplift_at_saturation", type="double", description="Extra share of demand at endless spend."),
            Column(name="half_saturation", type="double", description="Adstock at half of it, in mean daily spends."),
            Column(name="hill_exponent", type="double", description="Exponent of the response curve."),
            Column(name="carry_over", type="double", description="Share of adstock that lasts to the next day."),
            Column(name="mean_daily_spend", type="double", description="The planned mean of daily spend, in euros."),
        ),
    ),
    Contract(
        dataset="channel_days",
        grain="A paid channel and a day.",
        key=("channel", "date_day"),
        columns=(
            _CHANNEL,
            _DAY,
            Column(name="spend_amount", type="money", description="Spent that day."),
            Column(name="uplift", type="double", description="Extra demand, as a share of demand without marketing."),
        ),
    ),
    Contract(
        dataset="experiments",
        grain="A randomised experiment.",
        key=("experiment_id",),
        columns=(
            Column(name="experiment_id", type="string", description="The experiment."),
            Column(name="started_at", type="timestamp", description="First moment."),
            Column(name="ended_at", type="timestamp", description="Moment after the last."),
            Column(name="treatment_share", type="double", description="The chance to be treated."),
            Column(name="order_lift", type="double", description="Extra share of orders of the treated."),
            Column(name="spend_lift", type="double", description="Extra share of planned spend in their orders."),
            Column(name="free_shipping_from", type="money", nullable=True, description="Their threshold, if changed."),
        ),
    ),
    Contract(
        dataset="fraud_rings",
        grain="A member of a fraud ring.",
        key=("customer_id",),
        columns=(
            Column(name="ring_id", type="string", description="The ring: its members share cards and devices."),
            _CUSTOMER,
            Column(name="is_address_shared", type="boolean", description="They also share address and network."),
        ),
    ),
    Contract(
        dataset="fraud_orders",
        grain="A fraudulent order.",
        key=("order_id",),
        columns=(
            Column(name="order_id", type="string", description="The order."),
            Column(name="ordered_at", type="timestamp", description="When it was placed."),
            Column(name="ring_id", type="string", nullable=True, description="The ring; null for a lone fraudster."),
            Column(name="charged_back_at", type="timestamp", description="When the label comes, even past the end."),
        ),
    ),
    Contract(
        dataset="loyalty_tiers",
        grain="A customer's loyalty tier from a moment on.",
        key=("customer_id", "valid_from"),
        columns=(
            _CUSTOMER,
            Column(name="valid_from", type="timestamp", description="From when the tier holds."),
            Column(name="loyalty_tier", type="string", accepted=TIERS, description="The tier."),
        ),
    ),
    Contract(
        dataset="loyalty_effects",
        grain="A loyalty tier.",
        key=("loyalty_tier",),
        columns=(
            Column(name="loyalty_tier", type="string", accepted=TIERS, description="The tier."),
            Column(name="from_orders", type="bigint", description="Orders in 365 days from which a review gives it."),
            Column(name="order_lift", type="double", description="Extra share of orders that its benefits cause."),
            Column(name="ships_free", type="boolean", description="Orders ship free."),
        ),
    ),
)

TRUTH_CONTRACTS: dict[str, Contract] = {contract.dataset: contract for contract in _TABLES}
"""All truth tables by name; none has a time axis."""
