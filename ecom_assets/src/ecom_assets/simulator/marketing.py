"""The datasets `campaigns` and `experiment_assignments`, from what `campaigns` and `paid` plant.

Daily spend of paid campaigns is in `paid`, e-mails as events in `web`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ecom_assets.simulator import campaigns
from ecom_assets.simulator.campaigns import EMAIL_CAMPAIGNS, EXPERIMENTS
from ecom_assets.simulator.columns import DAY, Rows, blank, by_time, money, pick, timestamps
from ecom_assets.simulator.orders import CHANNELS, EMAIL
from ecom_assets.simulator.streams import Ints
from ecom_assets.simulator.world import World

EMAIL_BUDGET_CENTS_PER_CUSTOMER = 3
BUDGET_MARGIN = 1.1


def campaign_rows(world: World, start: int, end: int) -> Rows:
    """The dataset `campaigns` for campaigns that start in `[start, end)`."""
    calendar, quarters = world.calendar, world.paid.quarters
    sent = [campaigns.send_time(c, calendar.start, calendar.days) for c in EMAIL_CAMPAIGNS]
    began = np.array([*sent, *(calendar.start + q.first * DAY for q in quarters)], dtype=np.int64)
    ended = np.array(
        [*(t + campaigns.EFFECT_DAYS * DAY for t in sent), *(calendar.start + q.last * DAY for q in quarters)],
        dtype=np.int64,
    )
    names = [*(c.name for c in EMAIL_CAMPAIGNS), *(q.name for q in quarters)]
    channel = np.array([EMAIL] * len(EMAIL_CAMPAIGNS) + [q.channel for q in quarters])
    aims = [*(c.objective for c in EMAIL_CAMPAIGNS), *("acquire" for _ in quarters)]
    percent = np.array([*(c.discount_pct for c in EMAIL_CAMPAIGNS), *(0 for _ in quarters)], dtype=np.float64)
    spent = [int(world.paid.spend_cents[q.channel, q.first : q.last].sum() * BUDGET_MARGIN) for q in quarters]
    budget = np.array([EMAIL_BUDGET_CENTS_PER_CUSTOMER * world.config.customers] * len(EMAIL_CAMPAIGNS) + spent)
    key = world.streams.bits("campaign.row", np.arange(len(began)))
    chosen = np.flatnonzero((began >= start) & (began < end))
    chosen = chosen[by_time(began[chosen], key[chosen])]
    columns = {
        "campaign_id": pick(world.campaign_ids, chosen),
        "started_at": timestamps(began[chosen]),
        "ended_at": timestamps(ended[chosen]),
        "name": pick(names, chosen),
        "channel": pick(CHANNELS, channel[chosen]),
        "objective": pick(aims, chosen),
        "discount_pct": blank(pa.array(percent[chosen]), percent[chosen] == 0),
        "budget_amount": money(budget[chosen].astype(np.int64)),
    }
    return Rows(began[chosen], key[chosen], columns)


def assignment_rows(world: World, start: int, end: int) -> Rows:
    """The dataset `experiment_assignments` for customers who enter an experiment in `[start, end)`."""
    calendar, folk, streams = world.calendar, world.people, world.streams
    customers: list[Ints] = []
    times: list[Ints] = []
    numbers: list[Ints] = []
    for number, experiment in enumerate(EXPERIMENTS):
        span = campaigns.experiment_span(experiment, calendar.start, calendar.days)
        if span[0] >= end or span[1] <= start:
            continue
        customer = np.arange(folk.customers)
        entered = campaigns.assigned_at(experiment, span, customer, folk.registered_at[customer], streams)
        inside = np.flatnonzero((entered >= start) & (entered < min(end, span[1])))
        customers.append(inside)
        times.append(entered[inside])
        numbers.append(np.full(len(inside), number))
    none = [np.zeros(0, dtype=np.int64)]
    customer, time, number_of = (np.concatenate(part or none) for part in (customers, times, numbers))
    key = streams.bits("assignment.row", number_of, customer)
    order = by_time(time, key)
    customer, time, number_of, key = customer[order], time[order], number_of[order], key[order]
    treated = np.zeros(len(customer), dtype=np.int64)
    for number, experiment in enumerate(EXPERIMENTS):
        mine = number_of == number
        treated[mine] = campaigns.is_treatment(experiment, customer[mine], streams)
    columns = {
        "experiment_id": pick([e.experiment_id for e in EXPERIMENTS], number_of),
        "customer_id": pick(world.customer_ids, customer),
        "assigned_at": timestamps(time),
        "variant": pick(("control", "treatment"), treated),
    }
    return Rows(time, key, columns)
