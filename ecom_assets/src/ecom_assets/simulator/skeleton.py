"""When every order happens, who places it and what caused it: the shop's whole history in four plain arrays.

Repeat purchases are BG/NBD (Fader, Hardie and Lee 2005) on the calendar's clock: each customer buys at their own rate
and may drop out after each repeat purchase. On top come the orders that campaigns, experiments and loyalty tiers
cause, decision by decision in the order of time, since whom a campaign picks depends on what they did before. What is
in an order is in `orders`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecom_assets.simulator import campaigns
from ecom_assets.simulator.calendar import Calendar
from ecom_assets.simulator.campaigns import EMAIL_CAMPAIGNS, EXPERIMENTS, Assignment, Past
from ecom_assets.simulator.columns import DAY, HOUR
from ecom_assets.simulator.people import NEVER, People
from ecom_assets.simulator.streams import Bits, Bools, Floats, Ints, Streams, poisson

CAUSES = (
    "own_wish",
    *(campaign.campaign_id for campaign in EMAIL_CAMPAIGNS),
    *(experiment.experiment_id for experiment in EXPERIMENTS),
    "hidden_intent",
    "loyalty_tier",
)
MOST_EXTRA_ORDERS = 6
REVIEW_HOUR = 3


@dataclass(frozen=True)
class Skeleton:
    """All orders, in order of time; an order's number is its position.

    `cause` indexes `CAUSES`; `tiers` is (reviews, customers), the tier from each of `review_times` on; `dropped_at` is
    in microseconds, `NEVER` for who has not dropped out by the end.
    """

    time: Ints
    person: Ints
    key: Bits
    cause: Ints
    is_first: Bools
    dropped_at: Ints
    review_times: Ints
    tiers: Ints
    assignments: tuple[Assignment, ...]

    def between(self, start: int, end: int) -> Ints:
        """The numbers of the orders placed in `[start, end)`."""
        first, last = np.searchsorted(self.time, [start, end])
        return np.arange(first, last)

    def tier(self, person: Ints, time: Ints) -> Ints:
        """The loyalty tier (0 to 3) of each customer at each moment."""
        review = np.searchsorted(self.review_times, time, side="right") - 1
        if not len(self.review_times):
            return np.zeros(len(person), dtype=np.int64)
        customer = np.minimum(person, self.tiers.shape[1] - 1)
        return np.where((review >= 0) & (person < self.tiers.shape[1]), self.tiers[review, customer], 0)


def build(people: People, calendar: Calendar, streams: Streams) -> Skeleton:
    """Draw every order of the shop: time and memory grow with the number of orders, at about 40 bytes each."""
    time, person, nth, dropped_at = _own_wish(people, calendar, streams)
    history = _History(people, calendar, streams, dropped_at)
    history.add(time, person, streams.bits("order", person, nth), np.zeros(len(time), dtype=np.int64))
    assignments: list[Assignment] = []
    reviews: list[tuple[int, Ints]] = []
    review_times = _review_times(calendar)
    for moment, decision in _decisions(calendar, review_times):
        if decision == "review":
            following = next((later for later in review_times if later > moment), calendar.end)
            reviews.append((moment, history.review_tiers(moment, following)))
        elif isinstance(decision, campaigns.EmailCampaign):
            assignments.append(history.send(decision, moment))
        elif isinstance(decision, campaigns.ShopExperiment):
            history.experiment(decision)
    return history.finish(assignments, reviews)


def _own_wish(people: People, calendar: Calendar, streams: Streams) -> tuple[Ints, Ints, Ints, Ints]:
    """Time, person and count of each order that nothing else caused, and when each person dropped out."""
    dropped_at = np.full(people.count, NEVER)
    active = np.flatnonzero(people.first_order_at < calendar.end)
    times, persons, counts = [people.first_order_at[active]], [active], [np.zeros(len(active), dtype=np.int64)]
    active = active[people.rate[active] > 0]
    clock = calendar.clock(people.first_order_at[active])
    nth = 0
    while len(active):
        nth += 1
        clock = clock + streams.exponential("gap", active, nth) / people.rate[active]
        here = clock < calendar.horizon
        active, clock = active[here], clock[here]
        time = calendar.moment(clock)
        times.append(time)
        persons.append(active)
        counts.append(np.full(len(active), nth, dtype=np.int64))
        leaves = streams.uniform("dropout", active, nth) < people.dropout[active]
        dropped_at[active[leaves]] = time[leaves]
        active, clock = active[~leaves], clock[~leaves]
    return np.concatenate(times), np.concatenate(persons), np.concatenate(counts), dropped_at


def _review_times(calendar: Calendar) -> list[int]:
    """03:00 on the first day of each quarter after the start."""
    return [
        calendar.start + day * DAY + REVIEW_HOUR * HOUR
        for day, date in enumerate(calendar.dates)
        if day and date.day == 1 and date.month % 3 == 1
    ]


def _decisions(
    calendar: Calendar, review_times: list[int]
) -> list[tuple[int, campaigns.EmailCampaign | campaigns.ShopExperiment | str]]:
    found: list[tuple[int, campaigns.EmailCampaign | campaigns.ShopExperiment | str]] = [
        (moment, "review") for moment in review_times
    ]
    found += [(campaigns.send_time(c, calendar.start, calendar.days), c) for c in EMAIL_CAMPAIGNS]
    found += [(campaigns.experiment_span(e, calendar.start, calendar.days)[0], e) for e in EXPERIMENTS]
    return sorted(found, key=lambda pair: pair[0])


class _History:
    """Orders so far, while the skeleton is built."""

    def __init__(self, people: People, calendar: Calendar, streams: Streams, dropped_at: Ints) -> None:
        self._people, self._calendar, self._streams = people, calendar, streams
        self._dropped_at = dropped_at
        self._parts: list[tuple[Ints, Ints, Bits, Ints]] = []

    def add(self, time: Ints, person: Ints, key: Bits, cause: Ints) -> None:
        self._parts.append((time, person, key, cause))

    def past(self, moment: int) -> Past:
        """What each customer has done before `moment`."""
        customers = self._people.customers
        last = self._people.registered_at[:customers].copy()
        frequency = np.zeros(customers, dtype=np.int64)
        for time, person, _, _ in self._parts:
            known = (time < moment) & (person < customers)
            np.maximum.at(last, person[known], time[known])
            recent = known & (time >= moment - 365 * DAY)
            frequency += np.bincount(person[recent], minlength=customers)
        return Past((moment - last) / DAY, frequency)

    def send(self, campaign: campaigns.EmailCampaign, sent_at: int) -> Assignment:
        people = self._people
        customer = np.arange(people.customers)
        listed = people.opted_in[customer] & (people.opted_out_at[customer] > sent_at)
        eligible = np.flatnonzero(listed & (people.registered_at[customer] < sent_at))
        past = self.past(sent_at)
        seen = Past(past.recency_days[eligible], past.frequency[eligible])
        assignment = campaigns.assign(campaign, sent_at, eligible, seen, self._streams)
        self._respond(campaign.campaign_id, assignment, assignment.treated, assignment.extra_chance)
        if assignment.intent_chance.any():
            everyone = np.ones(len(eligible), dtype=bool)
            self._respond("hidden_intent", assignment, everyone, assignment.intent_chance)
        return assignment

    def _respond(self, cause: str, assignment: Assignment, reached: Bools, chance: Floats) -> None:
        customer = assignment.customer
        stream = f"{assignment.campaign.campaign_id}.{cause}"
        responds = reached & (self._streams.uniform(f"{stream}.responds", customer) < chance)
        self._extra(cause, stream, customer[responds], *potential_times(assignment, stream, responds, self._streams))

    def experiment(self, experiment: campaigns.ShopExperiment) -> None:
        people, calendar, streams = self._people, self._calendar, self._streams
        span = campaigns.experiment_span(experiment, calendar.start, calendar.days)
        customer = np.flatnonzero(campaigns.is_treatment(experiment, np.arange(people.customers), streams))
        entered = campaigns.assigned_at(experiment, span, customer, people.registered_at[customer], streams)
        inside = entered < span[1]
        self._lift(experiment.experiment_id, customer[inside], entered[inside], span[1], experiment.order_lift)

    def review_tiers(self, moment: int, following: int) -> Ints:
        """The tier of each customer from the review at `moment` on, and the orders that it causes until `following`."""
        tiers = np.searchsorted(campaigns.TIER_FROM_ORDERS, self.past(moment).frequency, side="right")
        lift = campaigns.LOYALTY_LIFT[tiers]
        customer = np.flatnonzero(lift)
        self._lift("loyalty_tier", customer, np.full(len(customer), moment), following, lift[customer])
        return tiers

    def _lift(self, cause: str, customer: Ints, since: Ints, until: int, lift: Floats | float) -> None:
        """Extra orders at `lift` times each customer's own rate, from `since` to `until`."""
        streams, calendar = self._streams, self._calendar
        begin, end = calendar.clock(since), calendar.clock(np.array([until]))[0]
        mean = lift * self._people.rate[customer] * (end - begin)
        stream = f"{cause}.{until}"
        extra = poisson(streams.uniform(stream, customer), mean, MOST_EXTRA_ORDERS)
        who = np.repeat(np.arange(len(customer)), extra)
        each = np.arange(len(who)) - np.repeat(np.cumsum(extra) - extra, extra)
        clock = begin[who] + streams.uniform(f"{stream}.when", customer[who], each) * (end - begin[who])
        self._extra(cause, stream, customer[who], calendar.moment(clock), each)

    def _extra(self, cause: str, stream: str, customer: Ints, time: Ints, each: Ints) -> None:
        """Keep the extra orders of customers who still buy: they have bought, and have not dropped out."""
        first = self._people.first_order_at[customer]
        keep = (time < self._calendar.end) & (time < self._dropped_at[customer]) & (time > first)
        customer, time, each = customer[keep], time[keep], each[keep]
        code = np.full(len(time), CAUSES.index(cause), dtype=np.int64)
        self.add(time, customer, self._streams.bits(f"order.{stream}", customer, each), code)

    def finish(self, assignments: list[Assignment], reviews: list[tuple[int, Ints]]) -> Skeleton:
        time, person, key, cause = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        order = np.lexsort((key, time))
        tiers = np.stack([tier for _, tier in reviews]) if reviews else np.zeros((0, self._people.customers), np.int64)
        return Skeleton(
            time=time[order],
            person=person[order],
            key=key[order],
            cause=cause[order],
            is_first=(time == self._people.first_order_at[person])[order],
            dropped_at=self._dropped_at,
            review_times=np.array([moment for moment, _ in reviews], dtype=np.int64),
            tiers=tiers.astype(np.int8),
            assignments=tuple(assignments),
        )


def potential_times(assignment: Assignment, stream: str, chosen: Bools, streams: Streams) -> tuple[Ints, Ints]:
    """When the chosen customers would order because of the campaign, and the number (0) of that order."""
    customer = assignment.customer[chosen]
    delay = campaigns.response_delay(streams.uniform(f"{stream}.delay", customer))
    sending = campaigns.SEND_HOURS * HOUR + HOUR
    return assignment.sent_at + sending + delay, np.zeros(len(customer), dtype=np.int64)
