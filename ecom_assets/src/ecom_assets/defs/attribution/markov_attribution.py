"""The asset `published/markov_attribution`: each channel's credit by its removal effect.

Solving a linear system is no task for SQL, so it is an asset of its own beside the mart channel_attribution; the chain
is in `ecom_assets.attribution.markov`.
"""

from collections.abc import Iterator
from decimal import Decimal

import dagster as dg

import ecom_assets.components
from cartograph.lake import Lake
from cartograph.settings import get_settings
from cartograph.shops import Shop, load_shop
from cartograph.trust.evidence import checked
from cartograph.trust.publication import require_sound
from ecom_assets.attribution.markov import CONTRACT, MADE_OF, attribute, order_totals
from ecom_assets.components.source_component import column_schema

KEY = dg.AssetKey(["published", CONTRACT.dataset])
TABLE = f"published.{CONTRACT.dataset}"
WON, LOST = dg.AssetKey(["published", "order_touches"]), dg.AssetKey(["published", "abandoned_touches"])
TRUTH = dg.AssetKey(["truth", "channels"])
TRUTH_BAR = 0.10
"""How far a paid channel's share may be from the planted one, in shares of one."""


@dg.definitions
def attribution_definitions() -> dg.Definitions:
    """The asset for a shop with events; the comparison with the truth for a simulated one."""
    shop = load_shop(get_settings())
    if MADE_OF not in shop.datasets:
        return dg.Definitions()
    checks = [close_to_planted_shares] if is_simulated(shop) else []
    return dg.Definitions(assets=[markov_attribution], asset_checks=checks)


def is_simulated(shop: Shop) -> bool:
    """Whether the shop has a truth to compare with."""
    simulator = f"{ecom_assets.components.__name__}.{ecom_assets.components.SimulatorSource.__name__}"
    return any(source.type == simulator for source in shop.sources)


@dg.asset(
    key=KEY,
    deps=[WON, LOST],
    description=(
        f"{CONTRACT.grain} Its credit is its removal effect in a first-order Markov chain of all paths: those in "
        "order_touches convert, those in abandoned_touches do not. Correlation, not proof: a channel that people "
        "use who would have bought anyway is credited too."
    ),
    group_name="published",
    kinds={"numpy", "iceberg"},
    owners=["team:analytics"],
    tags={"domain": "marketing"},
    metadata={"dagster/column_schema": column_schema(CONTRACT), "dagster/table_name": TABLE},
    check_specs=[
        dg.AssetCheckSpec(
            "shares_sum_to_one",
            asset=KEY,
            blocking=True,
            description="The channels' shares sum to 1; to 0 where there is no order.",
        ),
        dg.AssetCheckSpec(
            "credits_reconcile",
            asset=KEY,
            blocking=True,
            description="The credits add up to all orders and their revenue, to the cent.",
        ),
    ],
)
def markov_attribution(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
    """Credit the channels and replace the table."""
    override = require_sound(context, None)
    lake = Lake.from_settings(get_settings())
    tables = {name: f"published.{key.path[-1]}" for name, key in (("won", WON), ("lost", LOST))}
    pins = lake.pin(tables.values())
    won, lost = (lake.relation_sql(table, pins.get(table)) for table in tables.values())
    with lake.connect() as connection:
        found = attribute(connection, won, lost)
        orders, revenue = order_totals(connection, won)
    lake.ensure(TABLE, CONTRACT, None)
    with lake.overwriting(TABLE, None) as writer:
        writer.write(found)
    yield dg.MaterializeResult(
        metadata={
            "dagster/row_count": found.num_rows,
            "dagster/column_lineage": column_lineage(),
            # As text: the ids are 64-bit numbers, which the UI's JavaScript would round.
            "lake_snapshots": dg.MetadataValue.json({table: str(snapshot) for table, snapshot in pins.items()}),
            "orders": orders,
            "revenue": float(revenue),
            **override,
        }
    )
    total = sum(found["credit_share"].to_pylist())
    yield checked(
        "shares_sum_to_one",
        abs(total - (1 if orders else 0)) < 1e-9,
        expected=f"a sum of {1 if orders else 0} for {orders:,} orders",
        found=f"a sum of {total:.12g}",
    )
    credited = {name: sum(found[name].to_pylist(), Decimal(0)) for name in ("orders_credited", "revenue_amount")}
    yield checked(
        "credits_reconcile",
        credited == {"orders_credited": orders, "revenue_amount": revenue},
        expected=f"{orders:,} orders and a revenue of {revenue:,}",
        found=f"credits for {credited['orders_credited']:,} orders and {credited['revenue_amount']:,}",
    )


def column_lineage() -> dg.TableColumnLineage:
    """What each column is made of."""
    channels = [dg.TableColumnDep(WON, "channel"), dg.TableColumnDep(LOST, "channel")]
    return dg.TableColumnLineage(
        {
            "channel": channels,
            "removal_effect": channels,
            "credit_share": channels,
            "orders_credited": [*channels, dg.TableColumnDep(WON, "order_id")],
            "revenue_amount": [*channels, dg.TableColumnDep(WON, "revenue_amount")],
        }
    )


@dg.asset_check(
    asset=KEY,
    additional_deps=[TRUTH],
    description=(
        f"Among the paid channels, each one's share is within {TRUTH_BAR * 100:.0f} points of its planted part of all "
        "revenue that advertising caused."
    ),
)
def close_to_planted_shares() -> dg.AssetCheckResult:
    """Compare with the simulator's truth; a miss warns, since paths tell who was there and not who caused."""
    lake = Lake.from_settings(get_settings())
    with lake.connect() as connection:
        rows = connection.execute(
            f"""
            SELECT
                channel,
                coalesce(credit_share, 0) / nullif(sum(coalesce(credit_share, 0)) OVER (), 0) AS found,
                incremental_share AS planted
            FROM ({lake.relation_sql("truth.channels")})
            LEFT JOIN ({lake.relation_sql(TABLE)}) USING (channel)
            ORDER BY channel
            """
        ).fetchall()
    differences = {channel: (found or 0.0) - planted for channel, found, planted in rows}
    worst = max(differences, key=lambda channel: abs(differences[channel]))
    return checked(
        "close_to_planted_shares",
        abs(differences[worst]) <= TRUTH_BAR,
        expected=f"at most {TRUTH_BAR * 100:.0f} points from what was planted",
        found=f"{differences[worst] * 100:+.1f} points at {worst}",
        samples=sorted(differences, key=lambda channel: -abs(differences[channel])),
        severity="warning",
        metadata={
            "largest_difference_points": abs(differences[worst]) * 100,
            **{f"{channel}_found_pct": (found or 0.0) * 100 for channel, found, _ in rows},
            **{f"{channel}_planted_pct": planted * 100 for channel, _, planted in rows},
        },
    )
