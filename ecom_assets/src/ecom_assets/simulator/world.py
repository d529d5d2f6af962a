"""The simulated world: everything that is drawn once for a shop, made when it is first needed.

The one place where the parts are put together; each part is made in its own module, and rows are made from them by
the modules of the datasets.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa

from ecom_assets.simulator import skeleton
from ecom_assets.simulator.calendar import Calendar
from ecom_assets.simulator.campaigns import EMAIL_CAMPAIGNS
from ecom_assets.simulator.catalog import PRODUCTS, Catalog
from ecom_assets.simulator.columns import numbered
from ecom_assets.simulator.config import SimulatorConfig
from ecom_assets.simulator.paid import PaidMarketing
from ecom_assets.simulator.people import People
from ecom_assets.simulator.skeleton import Skeleton
from ecom_assets.simulator.streams import Ints, Streams


class World:
    """All that holds for a whole shop. Its size grows with customers and orders, not with what is read of it."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self.streams = Streams(config.seed)
        self.paid = PaidMarketing(config, self.streams)
        self.calendar = Calendar(config, self.paid)
        self.catalog = Catalog(self.streams, self.calendar)

    @cached_property
    def people(self) -> People:
        """Customers and guests."""
        return People(self.config, self.streams, self.calendar)

    @cached_property
    def skeleton(self) -> Skeleton:
        """Every order's time, person and cause."""
        return skeleton.build(self.people, self.calendar, self.streams)

    @cached_property
    def campaign_ids(self) -> tuple[str, ...]:
        """The e-mail campaigns, then the paid ones; a campaign's number is its position here."""
        return (*(c.campaign_id for c in EMAIL_CAMPAIGNS), *(q.campaign_id for q in self.paid.quarters))

    @cached_property
    def product_ids(self) -> pa.Array:
        """The identifier of each product."""
        return numbered("P", _counted(PRODUCTS))

    @cached_property
    def customer_ids(self) -> pa.Array:
        """The identifier of each customer."""
        return numbered("C", _counted(self.config.customers))

    def customer_number(self, person: Ints) -> Ints:
        """The position in `customer_ids` of each person, -1 for a guest."""
        return np.where(person < self.config.customers, person, -1)


def _counted(count: int) -> Ints:
    return np.arange(1, count + 1, dtype=np.int64)
