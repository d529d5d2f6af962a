"""The simulated shop as a source: twelve datasets, window by window, and the truth behind them.

Which windows are generated together, and how rows are cut to them; the rows themselves are made by the modules of the
datasets, trouble in `trouble`, and the truth in `truth`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from cartograph.windows import Window, at_midnight
from ecom_assets.contracts import CONTRACTS
from ecom_assets.lineage import Origins
from ecom_assets.simulator import aftersales, goods, marketing, orders, profiles, trouble, truth, web
from ecom_assets.simulator.columns import DAY, Rows
from ecom_assets.simulator.config import SimulatorConfig
from ecom_assets.simulator.streams import Ints
from ecom_assets.simulator.world import World
from ecom_assets.sources import Delivery

SOURCE = "simulator"
LONGEST_BATCH_DAYS = 31
SPLIT = ("orders", "order_items", "payments", "events")
CUSTOMER_DAYS_AT_ONCE = 800_000
"""Large datasets are made in pieces of so many customers times days (five months of the default shop), which bounds
what is held beside the rows themselves; the others look back over weeks, and would pay for that with each piece."""

GENERATORS: Mapping[str, Callable[[World, int, int], Rows]] = {
    "customers": profiles.customer_rows,
    "products": goods.product_rows,
    "campaigns": marketing.campaign_rows,
    "orders": orders.order_rows,
    "order_items": orders.item_rows,
    "payments": aftersales.payment_rows,
    "refunds": aftersales.refund_rows,
    "events": web.event_rows,
    "reviews": aftersales.review_rows,
    "inventory": goods.inventory_rows,
    "marketing_spend": lambda world, start, end: world.paid.rows(start, end),
    "experiment_assignments": marketing.assignment_rows,
}


class SimulatedShop:
    """A `Source` of all twelve datasets. Equal configurations give equal rows, for any windows in any order."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        self._world = World(config)

    @property
    def datasets(self) -> frozenset[str]:
        """All twelve."""
        return frozenset(GENERATORS)

    def deliveries(self, dataset: str, windows: Sequence[Window]) -> Iterator[Delivery]:
        """One delivery for each window, planted trouble included.

        Short windows are generated together and then cut, since a window costs some milliseconds however short it is.

        Raises:
            KeyError: there is no such dataset.
        """
        for batch in _batches(windows):
            rows, time = self._generate(dataset, self._clip(batch[0].start), self._clip(batch[-1].end))
            for window in batch:
                first, last = np.searchsorted(time, [self._clip(window.start), self._clip(window.end)])
                yield Delivery(window, self._drifted(dataset, rows.slice(first, last - first), window))
            del rows, time  # before the next batch is made, so that one is held at a time

    def fingerprint(self, dataset: str) -> None:
        """A simulated shop always delivers the same: late rows are late in it, and come with their own window."""

    def origins(self, dataset: str) -> dict[str, str]:  # noqa: ARG002 - all datasets have the same
        """The simulator itself."""
        config = self.config
        return {SOURCE: f"A simulated shop of {config.customers:,} customers, seed {config.seed}."}

    def column_origins(self, dataset: str) -> Origins:
        """Each column is the simulator's own."""
        return {column: ((SOURCE, column),) for column in CONTRACTS[dataset].names}

    def _generate(self, dataset: str, start: int, end: int) -> tuple[pa.Table, Ints]:
        """The rows of `[start, end)` as they are delivered, in order of their event times, and these."""
        step = DAY * max(1, CUSTOMER_DAYS_AT_ONCE // self.config.customers)
        if dataset not in SPLIT:
            step = max(step, end - start)
        tables, times = [], []
        for begin in range(start, max(end, start + 1), step):
            rows = GENERATORS[dataset](self._world, begin, min(begin + step, end))
            table, time = trouble.spoil(dataset, rows, self.config, self._world.streams)
            tables.append(table.append_column("_source", pa.repeat(SOURCE, len(table))))
            times.append(time)
        return pa.concat_tables(tables), np.concatenate(times)

    def truth(self) -> dict[str, pa.Table]:
        """What was planted and what it did: the tables of `TRUTH_CONTRACTS`, by name."""
        return truth.tell(self._world)

    def _clip(self, moment: datetime) -> int:
        calendar = self._world.calendar
        since = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        return min(max(since, calendar.start), calendar.end)

    def _drifted(self, dataset: str, table: pa.Table, window: Window) -> pa.Table:
        """Without the column that a dataset gains on the drift's day, for windows that end before it."""
        drifting, column = trouble.DRIFTING
        begins = trouble.drift_day(self.config)
        if dataset == drifting and (begins is None or window.end <= at_midnight(begins)):
            return table.drop_columns([column])
        return table


def _batches(windows: Sequence[Window]) -> Iterator[list[Window]]:
    """Runs of adjoining windows that together are no longer than a batch, and at least one window each."""
    longest = timedelta(days=LONGEST_BATCH_DAYS)
    batch: list[Window] = []
    for window in windows:
        if batch and (window.start != batch[-1].end or window.end - batch[0].start > longest):
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
