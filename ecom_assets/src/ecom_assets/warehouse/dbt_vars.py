"""What a shop may choose of how its warehouse is built: the vars of the dbt project, and what each takes.

What they mean, and their defaults, is in `dbt_project.yml`; what becomes of them, in the models.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError

from cartograph.shops import Shop, ShopError
from ecom_assets.warehouse.dbt_project import PROJECT_DIR


def _rising(bounds: tuple[float, ...]) -> tuple[float, ...]:
    if not all(low < high for low, high in pairwise(bounds)):
        raise ValueError("each bound must be more than the one before it")
    return bounds


def _falling(bounds: tuple[float, ...]) -> tuple[float, ...]:
    if not all(high > low for high, low in pairwise(bounds)):
        raise ValueError("each bound must be less than the one before it")
    return bounds


def _marked(country: str) -> str:
    seed = (PROJECT_DIR / "seeds" / "holidays.csv").read_text(encoding="utf-8")
    countries = sorted({line[:2] for line in seed.splitlines()[1:]})
    if country not in countries:
        raise ValueError(f"the seed `holidays` has none of it; it has {', '.join(countries)}")
    return country


Whole = Annotated[StrictInt, Field(ge=1)]
Amount = Annotated[StrictInt | StrictFloat, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[StrictInt | StrictFloat, Field(ge=0, le=1)]
Rising = AfterValidator(_rising)
Falling = AfterValidator(_falling)


class DbtVars(BaseModel):
    """All vars of the dbt project."""

    model_config = ConfigDict(extra="forbid")

    rfm_recency_days: Annotated[tuple[Whole, Whole, Whole, Whole], Falling]
    rfm_frequency_orders: Annotated[tuple[Whole, Whole, Whole, Whole], Rising]
    rfm_monetary_amount: Annotated[tuple[Amount, Amount, Amount, Amount], Rising]
    fiscal_year_start_month: Annotated[StrictInt, Field(ge=1, le=12)]
    holiday_country: Annotated[StrictStr, AfterValidator(_marked)]
    payment_due_days: Annotated[StrictInt, Field(ge=0)]
    discount_bands_pct: Annotated[tuple[Annotated[Amount, Field(le=100)], ...], Field(min_length=1), Rising]
    inventory_demand_days: Whole
    inventory_low_cover_days: Whole
    inventory_overstock_cover_days: Whole
    inventory_slow_mover_days: Whole
    customer_recency_band_days: Annotated[tuple[Whole, Whole, Whole], Rising]
    customer_frequency_band_orders: Annotated[tuple[Whole, Whole], Rising]
    customer_value_band_amount: Annotated[tuple[Amount, Amount], Rising]
    lifetime_value_band_percent_ranks: Annotated[tuple[Share, Share, Share], Rising]
    category_affinity_prior_amount: Annotated[StrictInt | StrictFloat, Field(gt=0, allow_inf_nan=False)]
    market_basket_min_support: Share
    market_basket_min_confidence: Share
    market_basket_min_orders: Whole
    market_basket_max_products: Annotated[StrictInt, Field(ge=2)]
    session_gap_minutes: Annotated[StrictInt, Field(ge=1, lt=24 * 60)]
    attribution_window_days: Whole
    attribution_half_life_days: Whole


def defaults() -> dict[str, Any]:
    """The vars as the dbt project has them."""
    found: dict[str, Any] = yaml.safe_load((PROJECT_DIR / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    return found


def require_known_vars(shop: Shop) -> None:
    """Raise ShopError where the shop's file sets a var that there is not, or that takes no such value.

    dbt would not say so, or in words of SQL.
    """
    _require(shop.dbt_vars, f"{shop.file}: dbt_vars")


def with_vars(arguments: Sequence[str], dbt_vars: Mapping[str, Any]) -> list[str]:
    """The arguments of a dbt command with the shop's vars; those that are given in `arguments` go before them.

    Raises:
        ShopError: a var is given that the dbt project does not have, or that takes no such value.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--vars", default="{}", type=yaml.safe_load)
    given, others = parser.parse_known_args(arguments)
    if not isinstance(given.vars, dict):
        return list(arguments)  # dbt says what is wrong with them
    _require(given.vars, "--vars")
    chosen = {**dbt_vars, **given.vars}
    return [*others, "--vars", json.dumps(chosen)] if chosen and others and not others[0].startswith("-") else others


def _require(given: Mapping[str, Any], where: str) -> None:
    known = defaults()
    for name in sorted(set(given) - known.keys()):
        meant = next((f" Do you mean {guess}?" for guess in get_close_matches(name, known, n=1)), "")
        raise ShopError(f"{where}: there is no dbt var {name}.{meant} dbt_project.yml lists them.")
    try:
        DbtVars.model_validate({**known, **given})
    except ValidationError as mistake:
        first = mistake.errors()[0]
        name, reason = str(first["loc"][0]), first["msg"].removeprefix("Value error, ")
        raise ShopError(
            f"{where}: {name}: {given[name]!r} will not do: {reason}. By default it is {known[name]!r}."
        ) from None
