"""Names, addresses and e-mail addresses, by Faker: pools made once from the seed, from which every person is dealt.

Pools and how they are dealt, and nothing of behaviour. The dataset `customers` is in `profiles`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from faker import Faker

from ecom_assets.simulator.columns import pick
from ecom_assets.simulator.streams import Bits, Ints
from ecom_assets.simulator.world import World

LOCALES = (("de_DE", "Germany", "49"), ("fr_FR", "France", "33"), ("nl_NL", "Netherlands", "31"))
COUNTRY_SHARES = np.array([0.55, 0.28, 0.17])
NAMES, STREETS, CITIES = 300, 300, 80
MAIL_DOMAINS = ("example.com", "example.org", "example.net")


@dataclass(frozen=True)
class Pools:
    """Names by country, each country's part one after the other; `slugs` are names in plain lower-case letters."""

    first_names: pa.Array
    last_names: pa.Array
    first_slugs: pa.Array
    last_slugs: pa.Array
    streets: pa.Array
    cities: pa.Array
    regions: pa.Array
    postal_codes: pa.Array


@lru_cache(maxsize=4)
def pools(seed: int) -> Pools:
    """The pools of a seed; a tenth of a second for the first call."""
    first, last, streets, cities, regions, codes = [], [], [], [], [], []
    for locale, _, _ in LOCALES:
        fake = Faker(locale)
        fake.seed_instance(seed)
        region = {"de_DE": "state", "fr_FR": "region", "nl_NL": "province"}[locale]
        first += [fake.first_name() for _ in range(NAMES)]
        last += [fake.last_name() for _ in range(NAMES)]
        streets += [fake.street_name() for _ in range(STREETS)]
        cities += [fake.city() for _ in range(CITIES)]
        regions += [getattr(fake, region)() for _ in range(CITIES)]
        codes += [fake.postcode() for _ in range(CITIES)]
    return Pools(
        *(pa.array(values) for values in (first, last, [_slug(n) for n in first], [_slug(n) for n in last])),
        *(pa.array(values) for values in (streets, cities, regions, codes)),
    )


def country_of(bits: Bits) -> Ints:
    """The country of each person or address."""
    return np.searchsorted(np.cumsum(COUNTRY_SHARES)[:-1], (bits >> np.uint64(40)).astype(np.float64) / 2.0**24)


def places(world: World, person: Ints, time: Ints) -> dict[str, pa.Array]:
    """Where each person lives at each moment: city, region, postal_code and country."""
    return places_of(world, world.people.address(person, world.people.moves_before(person, time)))


def places_of(world: World, address: Bits) -> dict[str, pa.Array]:
    """The city, region, postal_code and country of addresses."""
    pool, country = pools(world.config.seed), country_of(address)
    place = country * CITIES + (address % np.uint64(CITIES)).astype(np.int64)
    return {
        "city": pick(pool.cities, place),
        "region": pick(pool.regions, place),
        "postal_code": pick(pool.postal_codes, place),
        "country": pick([name for _, name, _ in LOCALES], country),
    }


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.lower().replace("ß", "ss"))
    return "".join(letter for letter in plain if letter.isascii() and letter.isalnum())
