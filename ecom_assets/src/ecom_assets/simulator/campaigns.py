"""E-mail campaigns and experiments: who is treated, by which rule, and what that does to their purchases.

Effects are planted as extra orders on top of what a customer would have done anyway, so both potential outcomes are
known. When the extra orders happen is drawn in `skeleton`, the e-mails themselves in `web`, paid channels in `paid`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit, ndtr

from ecom_assets.simulator.columns import DAY, HOUR
from ecom_assets.simulator.streams import Bools, Floats, Ints, Streams

EFFECT_DAYS = 14
EFFECT_FADE_DAYS = 5.0
SEND_HOURS = 3
Design = Literal["randomised", "confounded_observed", "confounded_unobserved", "no_overlap"]


@dataclass(frozen=True)
class EmailCampaign:
    """An e-mail campaign, sent to some of the opted-in customers at 09:00; `at` is a share of the shop's dates."""

    campaign_id: str
    name: str
    design: Design
    objective: str
    at: float
    coupon_code: str
    discount_pct: int


EMAIL_CAMPAIGNS = (
    EmailCampaign("email_spring", "Spring selection", "randomised", "activate", 0.58, "SPRING10", 10),
    EmailCampaign("email_winback", "We miss you", "confounded_observed", "win back", 0.68, "MISSYOU15", 15),
    EmailCampaign("email_vip", "An invitation", "confounded_unobserved", "reward", 0.78, "INVITED10", 10),
    EmailCampaign("email_newsletter", "The newsletter", "no_overlap", "inform", 0.88, "NEWS5", 5),
)


@dataclass(frozen=True)
class ShopExperiment:
    """A randomised experiment on `[at, at + lasts)` (shares of the shop's dates), half control and half treatment.

    `order_lift`: extra share of orders of the treated; `spend_lift`: extra share of spend in each of their orders;
    `free_shipping_from`: their threshold in cents, where it differs.
    """

    experiment_id: str
    at: float
    lasts: float
    order_lift: float
    spend_lift: float
    free_shipping_from: int | None = None


EXPERIMENTS = (
    ShopExperiment("homepage_layout", 0.12, 0.08, 0.0, 0.0),
    ShopExperiment("free_shipping_threshold", 0.32, 0.10, 0.06, 0.08, 2900),
    ShopExperiment("checkout_redesign", 0.46, 0.10, 0.18, 0.0),
)

TREATMENT_SHARE = 0.5
LOYALTY_LIFT = np.array([0.0, 0.0, 0.06, 0.10])
"""The extra share of orders that each tier (bronze to platinum) causes, by its benefits."""
TIER_FROM_ORDERS = np.array([3, 7, 14])
"""Orders in the last 365 days from which a customer is silver, gold, platinum at a quarterly review."""


@dataclass(frozen=True)
class Past:
    """What the shop knows of customers at a moment: days since the last order (or registration), orders in a year."""

    recency_days: Floats
    frequency: Ints


@dataclass(frozen=True)
class Assignment:
    """Who was eligible for a campaign and what was done; all arrays are as long as `customer`.

    `extra_chance` is the chance that the e-mail causes an extra order of a customer who has not dropped out.
    `intent_chance`, the same for orders of the hidden intent, treated or not.
    """

    campaign: EmailCampaign
    sent_at: int
    customer: Ints
    propensity: Floats
    treated: Bools
    extra_chance: Floats
    intent_chance: Floats


def send_time(campaign: EmailCampaign, start: int, days: int) -> int:
    """The moment of the campaign's start, in microseconds since 1970."""
    return start + int(campaign.at * days) * DAY + 9 * HOUR


def assign(campaign: EmailCampaign, sent_at: int, customer: Ints, past: Past, streams: Streams) -> Assignment:
    """Decide who of the eligible customers gets the campaign; `past` has one entry for each of them."""
    recency, frequency = past.recency_days, past.frequency
    intent = streams.normal(f"{campaign.campaign_id}.intent", customer)
    hidden = np.zeros(len(customer))
    if campaign.design == "randomised":
        propensity = np.full(len(customer), 0.5)
        chance = 0.16 + 0.22 * (frequency >= 3) + 0.12 * (recency >= 30)
    elif campaign.design == "confounded_observed":
        lapsing = (np.minimum(recency, 150) - 60) / 60
        propensity = np.clip(expit(-0.3 + 1.1 * lapsing - 0.08 * (np.minimum(frequency, 12) - 3)), 0.06, 0.94)
        chance = 0.26 + 0.24 * (recency >= 45)
    elif campaign.design == "confounded_unobserved":
        propensity = expit(-0.8 + 1.6 * intent)
        chance = np.full(len(customer), 0.25)
        hidden = 0.5 * ndtr(2.0 * (intent - 0.7))
    else:
        propensity = ((recency <= 75) & (frequency >= 2)).astype(np.float64)
        chance = np.full(len(customer), 0.12)
    treated = streams.uniform(f"{campaign.campaign_id}.treated", customer) < propensity
    return Assignment(campaign, sent_at, customer, propensity, treated, chance, hidden)


def response_delay(uniform: Floats) -> Ints:
    """Microseconds from an hour after the last e-mail to the order: exponential, cut off with the effect's days."""
    last = EFFECT_DAYS - (SEND_HOURS + 1) / 24
    whole = -np.expm1(-last / EFFECT_FADE_DAYS)
    delay: Ints = (-np.log1p(-uniform * whole) * EFFECT_FADE_DAYS * DAY).astype(np.int64)
    return delay


def experiment_span(experiment: ShopExperiment, start: int, days: int) -> tuple[int, int]:
    """First moment and end of the experiment, in microseconds since 1970."""
    first = start + int(experiment.at * days) * DAY
    return first, min(start + days * DAY, first + max(1, int(experiment.lasts * days)) * DAY)


def is_treatment(experiment: ShopExperiment, customer: Ints, streams: Streams) -> Bools:
    """Whether each customer is in the treatment variant."""
    return streams.uniform(f"{experiment.experiment_id}.variant", customer) < TREATMENT_SHARE


def assigned_at(
    experiment: ShopExperiment, span: tuple[int, int], customer: Ints, registered: Ints, streams: Streams
) -> Ints:
    """When each customer entered the experiment; at or after the end for those who registered too late.

    Customers of before the start enter at their first visit, within four days; later ones when they register.
    """
    first, end = span
    wait = (streams.uniform(f"{experiment.experiment_id}.entry", customer) * min(4 * DAY, end - first)).astype(np.int64)
    return np.where(registered < first, first + wait, registered)
