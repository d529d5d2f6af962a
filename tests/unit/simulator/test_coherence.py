"""What happens in the shop hangs together: money, visits, stock, refunds, versions and e-mails."""

from __future__ import annotations

import duckdb
import pytest

from ecom_assets.simulator import SimulatedShop
from shops import make_shop, read


def count(db: duckdb.DuckDBPyConnection, sql: str) -> int:
    return int((db.execute(sql).fetchone() or (0,))[0])


def none(db: duckdb.DuckDBPyConnection, sql: str) -> None:
    found = db.execute(sql).fetchmany(3)
    assert found == []


def test_order_amounts_are_the_sum_of_their_lines(db: duckdb.DuckDBPyConnection) -> None:
    assert count(db, "select count(*) from orders") > 1000
    none(
        db,
        """select * from orders full join (
             select order_id, sum(round(quantity * unit_price, 2)) subtotal, sum(discount_amount) discount,
                    min(line_number) first_line, max(line_number) last_line, count(*) line_count
             from order_items group by order_id) lines using (order_id)
           where subtotal is distinct from subtotal_amount or discount is distinct from discount_amount
              or first_line <> 1 or last_line <> line_count""",
    )


def test_captured_payments_are_the_order_total(db: duckdb.DuckDBPyConnection) -> None:
    none(
        db,
        """select * from (from orders qualify row_number() over (partition by order_id order by updated_at desc) = 1)
           left join (select order_id, sum(amount) captured, count(*) captures, max(paid_at) captured_at
                      from payments where status = 'captured' group by order_id) using (order_id)
           left join (select order_id, max(paid_at) declined_at from payments where status = 'declined'
                      group by order_id) using (order_id)
           where (status = 'cancelled' and captured is not null)
              or (status in ('shipped', 'completed') and (captured is distinct from total_amount or captures <> 1))
              or declined_at > captured_at or captured_at < ordered_at""",
    )
    assert count(db, "select count(*) from payments where status = 'declined'") > 20


def test_lines_have_the_order_time_and_the_list_price_of_it(db: duckdb.DuckDBPyConnection) -> None:
    none(
        db,
        """select * from order_items i
           asof join products p on i.product_id = p.product_id and i.ordered_at >= p.updated_at
           where i.unit_price <> p.list_price or not p.is_active""",
    )
    none(db, "select * from order_items i join orders o using (order_id) where i.ordered_at <> o.ordered_at")
    none(db, "select order_id, product_id from order_items group by all having count(*) > 1")


def test_orders_come_after_registration_from_guests_sometimes(db: duckdb.DuckDBPyConnection) -> None:
    none(
        db,
        """select * from orders join (select customer_id, min(registered_at) registered_at from customers group by 1)
           using (customer_id) where ordered_at < registered_at""",
    )
    guests = count(db, "select count(*) from orders where customer_id is null") / count(
        db, "select count(*) from orders"
    )
    assert 0.01 < guests < 0.08


def test_every_order_has_its_visit(db: duckdb.DuckDBPyConnection) -> None:
    db.execute(
        """create or replace temp table visits as
           select p.order_id, p.visitor_id, p.occurred_at, p.customer_id, p.device, p.channel, p.campaign_id,
             count(*) filter (e.event_type = 'page_view') pages, count(*) filter (e.event_type = 'checkout') checkouts,
             count(distinct e.product_id) filter (e.event_type = 'add_to_cart') carted,
             max(e.occurred_at) filter (e.event_type = 'add_to_cart') carted_at,
             max(e.occurred_at) filter (e.event_type = 'checkout') checkout_at
           from events p join events e on e.visitor_id = p.visitor_id and e.channel = p.channel
             and e.occurred_at between p.occurred_at - interval 2 hour and p.occurred_at
           where p.event_type = 'purchase' group by all"""
    )
    none(
        db,
        """select * from (select distinct order_id, ordered_at, customer_id, device, channel, campaign_id from orders) o
           full join visits v using (order_id)
           where v.occurred_at is distinct from o.ordered_at or v.customer_id is distinct from o.customer_id
              or v.device is distinct from o.device or v.channel is distinct from o.channel
              or v.campaign_id is distinct from o.campaign_id""",
    )
    none(
        db,
        """select * from visits join (select order_id, count(*) lines from order_items group by 1) using (order_id)
           where occurred_at > timestamptz '2024-01-01 02:00:00+00'
             and (pages = 0 or checkouts = 0 or carted < lines
                  or carted_at > checkout_at or checkout_at > occurred_at)""",
    )
    abandoned = count(db, "select count(*) from events where event_type = 'checkout'") / count(
        db, "from visits select count(*)"
    )
    assert abandoned > 1.02


def test_customers_are_known_only_after_they_register(db: duckdb.DuckDBPyConnection) -> None:
    none(
        db,
        """select * from events join (select customer_id, min(registered_at) registered_at from customers group by 1)
           using (customer_id) where occurred_at < registered_at""",
    )


def test_emails_go_to_the_opted_in_and_open_before_they_click(db: duckdb.DuckDBPyConnection) -> None:
    none(
        db,
        """select * from (from events where event_type = 'email_sent') e
           asof left join customers c on e.customer_id = c.customer_id and e.occurred_at >= c.updated_at
           where c.is_email_opt_in is not true and not exists (
             from customers later where later.customer_id = e.customer_id and later.is_email_opt_in
               and later.updated_at < e.occurred_at and e.occurred_at - c.updated_at < interval 4 hour)""",
    )
    none(
        db,
        """select campaign_id, customer_id,
             min(occurred_at) filter (event_type = 'email_sent') sent,
             min(occurred_at) filter (event_type = 'email_open') opened,
             min(occurred_at) filter (event_type = 'email_click') clicked
           from events where event_type like 'email%' group by all
           having sent is null or opened < sent or clicked < opened or (clicked is not null and opened is null)""",
    )
    campaigns = db.execute("select distinct campaign_id from events where event_type = 'email_sent'").fetchall()
    assert {row[0] for row in campaigns} == {"email_spring", "email_winback", "email_vip", "email_newsletter"}


def test_stock_is_conserved(db: duckdb.DuckDBPyConnection) -> None:
    db.execute(
        """create or replace temp table sold as
           select product_id, ordered_at::date snapshot_date, sum(quantity) units
           from order_items semi join (
             select order_id from (select order_id, arg_max(status, updated_at) status from orders group by 1)
             where status <> 'cancelled') kept using (order_id) group by all"""
    )
    none(
        db,
        """with days as (
             select *, lag(quantity_on_hand, 1, 0) over (partition by product_id order by snapshot_date) previous
             from inventory left join sold using (product_id, snapshot_date))
           select * from days left join truth_stockouts gone
             on gone.product_id = days.product_id and days.snapshot_date >= starts_on and days.snapshot_date < ends_on
           where (gone.product_id is null and quantity_on_hand <> previous + quantity_received - coalesce(units, 0))
              or (gone.product_id is not null and (quantity_on_hand > 0 or units is not null))""",
    )
    assert count(db, "select count(*) from truth_stockouts") > 10
    none(
        db,
        """select product_id from inventory group by 1
           having count(*) <> max(snapshot_date) - min(snapshot_date) + 1""",
    )


def test_refunds_follow_their_lines(db: duckdb.DuckDBPyConnection) -> None:
    assert count(db, "select count(*) from refunds") > 50
    none(
        db,
        """select * from refunds r left join order_items i using (order_id, line_number)
           left join (select order_id, customer_id, arg_max(status, updated_at) status from orders group by all) o
             using (order_id)
           where i.order_id is null or r.refunded_at <= i.ordered_at or r.product_id <> i.product_id
              or r.quantity > i.quantity or r.customer_id is distinct from o.customer_id or o.status = 'cancelled'
              or r.amount > round(i.quantity * i.unit_price, 2) - i.discount_amount""",
    )


def test_chargebacks_are_the_labels_of_fraud(db: duckdb.DuckDBPyConnection) -> None:
    end = "timestamptz '2025-03-01 00:00:00+00'"
    charged = db.execute(
        "select order_id, min(refunded_at) from refunds where reason = 'chargeback' group by 1 order by 1"
    ).fetchall()
    known = db.execute(
        f"select order_id, charged_back_at from truth_fraud_orders where charged_back_at < {end} order by 1"
    ).fetchall()
    assert charged == known != []
    none(db, "select * from truth_fraud_orders where charged_back_at < ordered_at + interval 12 day")
    rings = db.execute(
        """select ring_id, max(payers) from (
             select ring_id, card_fingerprint, count(distinct customer_id) payers
             from truth_fraud_orders join orders using (order_id) join payments using (order_id)
             where ring_id is not null group by all) group by 1"""
    ).fetchall()
    assert any(payers >= 2 for _, payers in rings)


def test_reviews_follow_purchases(db: duckdb.DuckDBPyConnection) -> None:
    assert count(db, "select count(*) from reviews") > 50
    none(
        db,
        """select * from reviews r
           left join order_items i using (order_id, product_id) left join orders o using (order_id)
           where i.order_id is null or r.reviewed_at <= i.ordered_at or r.customer_id is distinct from o.customer_id""",
    )


def test_customer_versions_are_changes(db: duckdb.DuckDBPyConnection) -> None:
    none(
        db,
        """select customer_id from customers group by 1
           having min(updated_at) <> min(registered_at) or count(distinct registered_at) > 1""",
    )
    none(
        db,
        """select * from (select *, row(street, city, postal_code, loyalty_tier, is_email_opt_in) state,
             lag(state) over (partition by customer_id order by updated_at) previous from customers)
           where state = previous""",
    )
    moved = "select count(*) from (select customer_id from customers group by 1 having count(distinct street) > 1)"
    rose = "select count(*) from (select customer_id from customers group by 1 having count(distinct loyalty_tier) > 1)"
    assert count(db, moved) > 20
    assert count(db, rose) > 20


def test_the_tier_at_any_time_is_the_truth(db: duckdb.DuckDBPyConnection) -> None:
    none(
        db,
        """select * from customers c asof left join truth_loyalty_tiers t
             on c.customer_id = t.customer_id and c.updated_at >= t.valid_from
           where c.loyalty_tier is distinct from t.loyalty_tier""",
    )
    none(
        db,
        """select t.customer_id, t.valid_from
           from truth_loyalty_tiers t join truth_loyalty_effects e using (loyalty_tier)
           left join (select distinct order_id, customer_id, ordered_at from orders) o on o.customer_id = t.customer_id
             and o.ordered_at < t.valid_from and o.ordered_at >= t.valid_from - interval 365 day
           group by t.customer_id, t.valid_from, e.from_orders having count(o.order_id) < e.from_orders""",
    )


def test_promotions_and_coupons_are_the_line_discounts(db: duckdb.DuckDBPyConnection) -> None:
    none(
        db,
        """select * from orders join order_items lines using (order_id)
           where coupon_code is not null and lines.discount_amount = 0""",
    )
    discounted = count(db, "select count(*) from order_items where discount_amount > 0")
    assert 0.1 < discounted / count(db, "select count(*) from order_items") < 0.6


def test_late_events_are_late_as_planted() -> None:
    shop: SimulatedShop = make_shop(customers=800, late_rate=0.5)
    connection = duckdb.connect(config={"threads": 1})
    connection.register("received", read(shop, "events"))
    late = connection.execute(
        """with lag as (select date_diff('second', occurred_at, received_at) / 3600.0 as hours from received)
           select count(*) filter (hours > 1 / 60) / count(*), count(*) filter (hours > 1 / 60 and hours <= 1),
                  count(*) filter (hours > 1 and hours <= 6), count(*) filter (hours > 6 and hours <= 24),
                  count(*) filter (hours > 24), max(hours) from lag"""
    ).fetchone()
    assert late is not None
    share, *buckets, longest = late
    assert share == pytest.approx(0.5, abs=0.02)
    assert [bucket / sum(buckets) for bucket in buckets] == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.02)
    assert longest <= 48
