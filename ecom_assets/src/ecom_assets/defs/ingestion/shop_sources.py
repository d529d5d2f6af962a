"""Turns the sources of the chosen shop's file into components. How a source reads belongs in its component."""

import dagster as dg
from pydantic import ValidationError

import ecom_assets.components
from cartograph.settings import get_settings
from cartograph.shops import Shop, ShopError, SourceSpec, load_shop
from ecom_assets.components import SourceComponent
from ecom_assets.contracts import CONTRACTS
from ecom_assets.quality.policy import PolicyError, require_usable
from ecom_assets.sources import Source


def source_component(spec: SourceSpec, shop: Shop) -> SourceComponent:
    """The component that `spec` names, with its attributes.

    Raises:
        ShopError: there is no such component or dataset, or an attribute or the file's `quality` is wrong.
    """
    if unknown := sorted(shop.datasets - CONTRACTS.keys()):
        raise ShopError(f"{shop.file}: no dataset is called {', '.join(unknown)}; datasets are {', '.join(CONTRACTS)}.")
    try:
        require_usable(shop.quality, shop.datasets)
    except PolicyError as error:
        raise ShopError(f"{shop.file}: {error}") from None
    known = {
        f"{ecom_assets.components.__name__}.{name}": getattr(ecom_assets.components, name)
        for name in ecom_assets.components.__all__
        if name != SourceComponent.__name__
    }
    if spec.type not in known:
        raise ShopError(f"{shop.file}: there is no source {spec.type!r}. Sources: {', '.join(sorted(known))}.")
    try:
        # As it stands: Dagster's templates would read any variable, and take "None" and "0" for no text.
        component: SourceComponent = known[spec.type].model_validate({"datasets": spec.datasets, **spec.attributes})
        component.reader(shop)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}, got {problem['input']!r}"
            for problem in error.errors()
        )
        raise ShopError(
            f"{shop.file}: {spec.type}: {problems}. Correct it there, or in the variable that it is taken from."
        ) from None
    return component


def shop_components(shop: Shop) -> list[SourceComponent]:
    """The components of the shop's sources that have assets of their own: not those that only add to others' rows.

    Raises:
        ShopError: as from `source_component`.
    """
    components = [(spec, source_component(spec, shop)) for spec in shop.sources]
    return [component for spec, component in components if not shop.only_adds(spec)]


def shop_readers(shop: Shop) -> list[Source]:
    """What reads the shop's datasets, each of them once and whole. Raises ShopError as `source_component` does."""
    return [component.reader_beside_the_log(shop) for component in shop_components(shop)]


@dg.definitions
def shop_sources(context: dg.ComponentLoadContext) -> dg.Definitions:
    """All raw and quarantine assets of the chosen shop."""
    shop = load_shop(get_settings())
    return dg.Definitions.merge(*(component.build_defs(context) for component in shop_components(shop)))
