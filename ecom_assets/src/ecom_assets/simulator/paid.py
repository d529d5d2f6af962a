"""Paid channels: what is spent on each day, and the extra demand that the spend causes.

The planted response is a saturating (Hill) curve of adstocked spend. Which orders a channel caused is drawn in
`skeleton`; which visits it gets credit for, in `orders`; e-mail campaigns are in `campaigns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from ecom_assets.simulator.columns import DAY, Rows, by_time, dates, integers, money, pick
from ecom_assets.simulator.config import SimulatorConfig
from ecom_assets.simulator.streams import Floats, Ints, Streams

FLIGHT_DAYS = 28
FLIGHT_LEVELS = np.array([0.25, 1.0, 1.9])
SPEND_NOISE = 0.25


@dataclass(frozen=True)
class PaidChannel:
    """A paid channel.

    `daily_spend`: euros a day for each customer of the shop, on average. `uplift`: the extra share of demand at
    saturation; half of it at `half_saturation` times the average spend; `carry_over`: share of the effect that lasts
    to the next day. `click_cost` in euros; `click_rate`: clicks for one impression.
    """

    name: str
    daily_spend: float
    uplift: float
    half_saturation: float
    carry_over: float
    click_cost: float
    click_rate: float


PAID_CHANNELS = (
    PaidChannel("search", 0.022, 0.16, 0.8, 0.20, 0.55, 0.045),
    PaidChannel("social", 0.016, 0.13, 1.0, 0.50, 0.40, 0.012),
    PaidChannel("display", 0.010, 0.05, 1.2, 0.60, 0.30, 0.003),
    PaidChannel("affiliate", 0.009, 0.06, 0.9, 0.10, 0.60, 0.060),
)
HILL = 1.5


@dataclass(frozen=True)
class Quarter:
    """A paid campaign: one channel in one quarter of a year, as days `[first, last)` counted from the shop's start."""

    campaign_id: str
    name: str
    channel: int
    first: int
    last: int


class PaidMarketing:
    """Spend and response of every paid channel over the shop's dates; arrays are (channels, days)."""

    def __init__(self, config: SimulatorConfig, streams: Streams) -> None:
        self._streams = streams
        self._start = config.start
        self.days = config.days
        channels = np.arange(len(PAID_CHANNELS))[:, None]
        day = np.arange(self.days)[None, :]
        flight = FLIGHT_LEVELS[(streams.uniform("paid.flight", channels, day // FLIGHT_DAYS) * 3).astype(np.int64)]
        noise = np.exp(SPEND_NOISE * streams.normal("paid.noise", channels, day) - SPEND_NOISE**2 / 2)
        average = np.array([channel.daily_spend for channel in PAID_CHANNELS])[:, None] * config.customers
        self.spend_cents: Ints = np.rint(100 * average * flight * noise / FLIGHT_LEVELS.mean()).astype(np.int64)
        self.uplift: Floats = np.stack(
            [
                respond(channel, self.spend_cents[row] / (100 * average[row]))
                for row, channel in enumerate(PAID_CHANNELS)
            ]
        )
        self.quarters = tuple(_quarters(config.start, config.end))
        self.campaign_of: Ints = np.zeros((len(PAID_CHANNELS), self.days), dtype=np.int64)
        for position, quarter in enumerate(self.quarters):
            self.campaign_of[quarter.channel, quarter.first : quarter.last] = position

    def rows(self, start: int, end: int) -> Rows:
        """The dataset `marketing_spend` for days that begin in `[start, end)`, microseconds since 1970."""
        origin = _microseconds(self._start)
        first, last = max(0, -((origin - start) // DAY)), min(self.days, -((origin - end) // DAY))
        day = np.repeat(np.arange(first, max(first, last)), len(PAID_CHANNELS))
        channel = np.tile(np.arange(len(PAID_CHANNELS)), max(0, last - first))
        time = origin + day * DAY
        key = self._streams.bits("paid.row", day, channel)
        order = by_time(time, key)
        day, channel, time, key = day[order], channel[order], time[order], key[order]
        spend = self.spend_cents[channel, day]
        cost = np.array([c.click_cost for c in PAID_CHANNELS])[channel]
        rate = np.array([c.click_rate for c in PAID_CHANNELS])[channel]
        noisy = np.exp(0.1 * self._streams.normal("paid.clicks", day, channel))
        clicks = np.rint(spend / 100 / cost * noisy).astype(np.int64)
        impressions = clicks + np.rint(clicks / rate).astype(np.int64)
        columns = {
            "campaign_id": pick([q.campaign_id for q in self.quarters], self.campaign_of[channel, day]),
            "spend_date": dates(time),
            "channel": pick([c.name for c in PAID_CHANNELS], channel),
            "spend_amount": money(spend),
            "impressions": integers(impressions),
            "clicks": integers(clicks),
        }
        return Rows(time, key, columns)


def respond(channel: PaidChannel, spend: Floats) -> Floats:
    """The extra share of demand on each day, for daily spend as a multiple of the channel's average."""
    stock = np.empty_like(spend)
    carried = 1.0 * channel.carry_over
    for day, amount in enumerate(spend):
        stock[day] = (1 - channel.carry_over) * amount + carried
        carried = channel.carry_over * stock[day]
    effective = stock**HILL
    response: Floats = channel.uplift * effective / (effective + channel.half_saturation**HILL)
    return response


def _quarters(start: date, end: date) -> list[Quarter]:
    found = []
    first = start
    while first < end:
        quarter = (first.month - 1) // 3
        following = date(first.year + (quarter == 3), (3 * quarter + 3) % 12 + 1, 1)
        last = min(following, end)
        for row, channel in enumerate(PAID_CHANNELS):
            label = f"{first.year}q{quarter + 1}"
            name = f"{channel.name.capitalize()} {label.upper()}"
            found.append(Quarter(f"{channel.name}_{label}", name, row, (first - start).days, (last - start).days))
        first = last
    return found


def _microseconds(day: date) -> int:
    return (day - date(1970, 1, 1)) // timedelta(days=1) * DAY
