"""Contracts of the datasets about marketing: campaigns, what they cost, and experiments."""

from cartograph.contracts import Column, Contract, Reference, Rule

CAMPAIGNS = Contract(
    dataset="campaigns",
    grain="A campaign.",
    key=("campaign_id",),
    event_time="started_at",
    steady="false",
    enables="campaign reports and campaign effects",
    columns=(
        Column(name="campaign_id", type="string", description="The campaign's number."),
        Column(name="started_at", type="timestamp", description="First moment."),
        Column(name="ended_at", type="timestamp", nullable=True, description="Moment after the last; null while open."),
        Column(name="name", type="string", description="Name."),
        Column(name="channel", type="string", description="Channel: email, search, social, display, affiliate, …"),
        Column(name="objective", type="string", nullable=True, description="What it is for, e.g. win back."),
        Column(name="discount_pct", type="double", nullable=True, description="Discount offered, in percent."),
        Column(name="budget_amount", type="money", nullable=True, description="Planned spend."),
    ),
    rules=(
        Rule(name="ends_after_start", sql="ended_at > started_at", message="a campaign ends after it starts"),
        Rule(
            name="discount_is_percent", sql="discount_pct BETWEEN 0 AND 100", message="a discount is 0 to 100 percent"
        ),
    ),
)

MARKETING_SPEND = Contract(
    dataset="marketing_spend",
    grain="A campaign and a day.",
    key=("campaign_id", "spend_date"),
    event_time="spend_date",
    enables="return on ad spend, acquisition cost and budget allocation",
    columns=(
        Column(name="campaign_id", type="string", description="The campaign."),
        Column(name="spend_date", type="date", description="The day (UTC)."),
        Column(name="channel", type="string", description="Channel of the campaign."),
        Column(name="spend_amount", type="money", description="Spent that day; not negative."),
        Column(name="impressions", type="bigint", nullable=True, description="Times shown."),
        Column(name="clicks", type="bigint", nullable=True, description="Times clicked."),
    ),
    rules=(
        Rule(name="spend_not_negative", sql="spend_amount >= 0", message="spend cannot be negative"),
        Rule(name="clicks_within_impressions", sql="clicks <= impressions", message="more clicks than impressions"),
    ),
    references=(Reference(column="campaign_id", dataset="campaigns", to_column="campaign_id"),),
)

EXPERIMENT_ASSIGNMENTS = Contract(
    dataset="experiment_assignments",
    grain="A customer in a variant of an experiment.",
    key=("experiment_id", "customer_id", "variant"),  # who is in two is kept: a check of the experiment tells of it
    event_time="assigned_at",
    steady="false",
    enables="experiment results",
    columns=(
        Column(name="experiment_id", type="string", description="The experiment."),
        Column(name="customer_id", type="string", description="The unit."),
        Column(name="assigned_at", type="timestamp", description="When the variant was drawn."),
        Column(name="variant", type="string", description="The variant, e.g. control or treatment."),
    ),
    references=(Reference(column="customer_id", dataset="customers", to_column="customer_id"),),
)
