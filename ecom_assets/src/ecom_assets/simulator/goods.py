"""The datasets about goods: `products` (a version for each launch, price change and end) and `inventory`.

Stock is filled up to a level on Mondays, falls with sales, is rushed in when a day sells more than there is, and is
withdrawn while a product is out of stock. So stock on a day needs no more than the sales since Monday. Prices and
demand are planted in `catalog`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ecom_assets.simulator.calendar import Calendar
from ecom_assets.simulator.catalog import BRANDS, CATEGORIES, PER_SEGMENT, PRODUCTS, Catalog
from ecom_assets.simulator.columns import DAY, Rows, by_time, dates, integers, pick, price, timestamps
from ecom_assets.simulator.orders import describe, fill
from ecom_assets.simulator.people import STYLES
from ecom_assets.simulator.streams import Bools, Floats, Ints
from ecom_assets.simulator.world import World

WEEKS_OF_STOCK, SAFETY_UNITS = 1.6, 4
UNITS_PER_CUSTOMER_AND_WEEK = 0.75


def product_rows(world: World, start: int, end: int) -> Rows:
    """The dataset `products` for versions that begin in `[start, end)`."""
    catalog, calendar = world.catalog, world.calendar
    first, last = _days(calendar, start, end)
    product, day, version, active = _versions(catalog, first, last)
    time = calendar.day_start(day)
    key = world.streams.bits("product.row", product, day)
    order = by_time(time, key)
    product, version, active, time, key = product[order], version[order], active[order], time[order], key[order]
    columns = {
        "product_id": pick(world.product_ids, product),
        "updated_at": timestamps(time),
        "name": pick(product_names(), product),
        "category": pick([c.name for c in CATEGORIES], catalog.category[product]),
        "brand": pick(_brands(), product),
        "list_price": price(catalog.list_price(version, product)),
        "unit_cost": price(catalog.cost_cents[product]),
        "is_active": pa.array(active),
    }
    return Rows(time, key, columns, spared=time == calendar.day_start(catalog.launch_day[product]))


def product_names() -> list[str]:
    """The name of each product."""
    return [
        f"{style.capitalize()} {category.noun[place % len(category.noun)]} {'I' * (1 + place // len(category.noun))}"
        for category in CATEGORIES
        for style in STYLES
        for place in range(PER_SEGMENT)
    ]


def _brands() -> list[str]:
    return [
        BRANDS[style][(number + place) % len(BRANDS[style])]
        for number, _ in enumerate(CATEGORIES)
        for style in STYLES
        for place in range(PER_SEGMENT)
    ]


def _versions(catalog: Catalog, first: int, last: int) -> tuple[Ints, Ints, Ints, Bools]:
    """Product, day, price version and activity of each version that begins on a day in `[first, last)`."""
    day = np.arange(first, last)
    product = np.arange(PRODUCTS)
    version = catalog.price_version(day[:, None], product)
    launched, ends = catalog.launch_day == day[:, None], catalog.discontinued_day == day[:, None]
    changes = (version != catalog.price_version(day[:, None] - 1, product)) & catalog.on_sale(day)
    row, found = np.nonzero(launched | ends | changes)
    return found, day[row], version[row, found], ~ends[row, found]


def inventory_rows(world: World, start: int, end: int) -> Rows:
    """The dataset `inventory` for days that begin in `[start, end)`."""
    calendar = world.calendar
    first, last = _days(calendar, start, end)
    monday = max(0, first - int(calendar.weekday[min(first, calendar.days - 1)]) - 7)
    day = np.arange(monday, last)
    on_hand, received = _stock(world, day, units_sold(world, monday, last))
    row, product = np.nonzero(world.catalog.on_sale(day) & (day[:, None] >= first))
    time = calendar.day_start(day[row])
    key = world.streams.bits("inventory.row", product, day[row])
    order = by_time(time, key)
    row, product, time, key = row[order], product[order], time[order], key[order]
    columns = {
        "product_id": pick(world.product_ids, product),
        "snapshot_date": dates(time),
        "quantity_on_hand": integers(on_hand[row, product]),
        "quantity_received": integers(received[row, product]),
    }
    return Rows(time, key, columns)


def units_sold(world: World, first: int, last: int) -> Ints:
    """Units of orders that were not cancelled, for the days `[first, last)`: (days, products)."""
    calendar = world.calendar
    span = calendar.day_start(np.array([first, last]))
    orders = describe(world, world.skeleton.between(int(span[0]), int(span[1])))
    lines = fill(world, orders)
    kept = ~orders.is_cancelled[lines.order]
    cell = (orders.day[lines.order] - first) * PRODUCTS + lines.product
    units = np.bincount(cell[kept], weights=lines.quantity[kept], minlength=max(0, last - first) * PRODUCTS)
    return units.astype(np.int64).reshape(-1, PRODUCTS)


def _stock(world: World, day: Ints, sold: Ints) -> tuple[Ints, Ints]:
    """Stock at the end of each day and units received in it; `day` begins a week before what is asked for.

    A week always begins at its level: levels only grow, and never lie below what the week before left over.
    """
    catalog = world.catalog
    level = _levels(world, day)
    gone = catalog.out_of_stock(day) | ~catalog.on_sale(day)
    on_hand, received = np.zeros_like(sold), np.zeros_like(sold)
    stock = np.zeros(PRODUCTS, dtype=np.int64)
    for row, today in enumerate(day):
        fills = (world.calendar.weekday[today] == 0) | (today == 0)
        delivery = np.where(fills & ~gone[row], np.maximum(level[row] - stock, 0), 0)
        delivery += np.maximum(sold[row] - stock - delivery, 0)
        stock = np.where(gone[row], 0, stock + delivery - sold[row])
        on_hand[row], received[row] = stock, delivery
    return on_hand, received


def spells(catalog: Catalog, days: int) -> tuple[Ints, Ints, Ints]:
    """Product, first day and day after the last of each spell out of stock while the product is on sale."""
    day = np.arange(days)
    gone = catalog.out_of_stock(day) & catalog.on_sale(day)
    edge = np.diff(gone.astype(np.int8), axis=0, prepend=0, append=0).T
    product, first = np.nonzero(edge == 1)
    _, last = np.nonzero(edge == -1)
    return product, first, last


def _levels(world: World, day: Ints) -> Ints:
    """The stock that each product is filled up to: (days, products); it never falls."""
    registered = np.searchsorted(world.people.registered_at[: world.config.customers], world.calendar.day_start(day))
    share: Floats = world.catalog.popularity * WEEKS_OF_STOCK * UNITS_PER_CUSTOMER_AND_WEEK
    served = np.maximum(registered, 0.1 * world.config.customers)
    return np.ceil(served[:, None] * share).astype(np.int64) + SAFETY_UNITS


def _days(calendar: Calendar, start: int, end: int) -> tuple[int, int]:
    """The days that begin in `[start, end)`."""
    first = max(0, -((calendar.start - start) // DAY))
    return first, max(first, min(calendar.days, -((calendar.start - end) // DAY)))
