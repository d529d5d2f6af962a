"""The dataset `customers`: a version for each registration, move, tier change and opt-out, with names and addresses.

What a customer does is planted in `people` and `skeleton`; the pools of names are in `identities`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecom_assets.contracts.customers import TIERS
from ecom_assets.simulator.columns import DAY, Rows, blank, by_time, dates, numbered, pick, timestamps
from ecom_assets.simulator.identities import LOCALES, MAIL_DOMAINS, NAMES, STREETS, country_of, places_of, pools
from ecom_assets.simulator.orders import CHANNELS, ORGANIC, UNCAUSED_CHANNELS, conceive
from ecom_assets.simulator.streams import Ints
from ecom_assets.simulator.world import World

YOUNGEST_YEARS, OLDEST_YEARS = 18, 80
NO_PHONE_SHARE, NO_BIRTH_DATE_SHARE = 0.15, 0.20


def version_times(world: World, start: int, end: int) -> tuple[Ints, Ints]:
    """Customer and moment of each version that begins in `[start, end)`; unordered, each pair once."""
    folk, bones = world.people, world.skeleton
    customer = np.arange(folk.customers)
    registered = folk.registered_at[customer]
    found = [(customer, registered), (customer, folk.opted_out_at[customer])]
    found += [(customer, folk.moved_at[customer, move]) for move in range(folk.moved_at.shape[1])]
    before = np.zeros(folk.customers, dtype=np.int8)
    for review, moment in enumerate(bones.review_times):
        if start <= moment < end:
            earlier = bones.tiers[review - 1] if review else before
            changed = np.flatnonzero((bones.tiers[review] != earlier) & (registered < moment))
            found.append((changed, np.full(len(changed), moment)))
    who = np.concatenate([part[0] for part in found])
    when = np.concatenate([part[1] for part in found])
    inside = (when >= start) & (when < min(end, world.calendar.end))
    return who[inside], when[inside]


def customer_rows(world: World, start: int, end: int) -> Rows:
    """The dataset `customers` for versions that begin in `[start, end)`."""
    folk, streams = world.people, world.streams
    customer, time = version_times(world, start, end)
    key = streams.bits("customer.row", customer, time)
    order = by_time(time, key)
    customer, time, key = customer[order], time[order], key[order]
    pool = pools(world.config.seed)

    home = folk.address(customer, folk.moves_before(customer, time))
    dealt = streams.bits("name", customer)
    country = country_of(folk.address(customer, np.zeros(len(customer), dtype=np.int64)))
    first = country * NAMES + (dealt % np.uint64(NAMES)).astype(np.int64)
    last = country * NAMES + (dealt // np.uint64(NAMES) % np.uint64(NAMES)).astype(np.int64)
    street = country_of(home) * STREETS + (home // np.uint64(1000) % np.uint64(STREETS)).astype(np.int64)
    number = pc.cast(pa.array(1 + (home >> np.uint64(20)).astype(np.int64) % 120), pa.string())
    age = YOUNGEST_YEARS + (OLDEST_YEARS - YOUNGEST_YEARS) * streams.uniform("age", customer) ** 1.5
    born = world.calendar.start - (age * 365.25).astype(np.int64) * DAY
    columns = {
        "customer_id": pick(world.customer_ids, customer),
        "updated_at": timestamps(time),
        "registered_at": timestamps(folk.registered_at[customer]),
        "email": _email(world, customer, pick(pool.first_slugs, first), pick(pool.last_slugs, last)),
        "first_name": pick(pool.first_names, first),
        "last_name": pick(pool.last_names, last),
        "phone": _phone(world, customer, country),
        "birth_date": blank(dates(born), streams.uniform("no_birth_date", customer) < NO_BIRTH_DATE_SHARE),
        "street": pc.binary_join_element_wise(pick(pool.streets, street), number, " "),
        **places_of(world, home),
        "loyalty_tier": pick(TIERS, world.skeleton.tier(customer, time)),
        "acquisition_channel": pick(CHANNELS, _acquisition(world, customer)),
        "is_email_opt_in": pa.array(folk.opted_in[customer] & (folk.opted_out_at[customer] > time)),
    }
    return Rows(time, key, columns, spared=time == folk.registered_at[customer])


def _email(world: World, customer: Ints, first: pa.Array, last: pa.Array) -> pa.Array:
    number = pc.cast(pa.array(customer + 1), pa.string())
    domain = pick(MAIL_DOMAINS, (world.streams.uniform("domain", customer) * len(MAIL_DOMAINS)).astype(np.int64))
    local = pc.binary_join_element_wise(first, last, number, ".")
    return pc.binary_join_element_wise(local, domain, "@")


def _phone(world: World, customer: Ints, country: Ints) -> pa.Array:
    digits = (world.streams.bits("phone", customer) % np.uint64(90_000_000)).astype(np.int64) + 10_000_000
    prefix = pick([f"+{code} 15" for _, _, code in LOCALES], country)
    full = pc.binary_join_element_wise(prefix, numbered("", digits), "")
    return blank(full, world.streams.uniform("no_phone", customer) < NO_PHONE_SHARE)


def _acquisition(world: World, customer: Ints) -> Ints:
    """The channel of the first order's visit; of the registering visit, for who never bought."""
    folk = world.people
    first = folk.first_order_at[customer]
    none = np.zeros(len(customer), dtype=np.int64)
    key = world.streams.bits("order", customer, none)
    order = conceive(world, none, np.minimum(first, world.calendar.end - 1), customer, key, none, none == 0)
    visit = np.searchsorted(np.cumsum(UNCAUSED_CHANNELS)[:-1], world.streams.uniform("visit.register", customer))
    return np.where(first < world.calendar.end, order.channel, np.where(visit < len(CHANNELS), visit, ORGANIC))
