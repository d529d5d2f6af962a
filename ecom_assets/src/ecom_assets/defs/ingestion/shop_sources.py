"""Turns the sources of the chosen shop's file into components. How a source reads belongs in its component."""

import dagster as dg
from dagster.components.resolved.errors import ResolutionException

import ecom_assets.components
from cartograph.settings import get_settings
from cartograph.shops import Shop, ShopError, SourceSpec, load_shop
from ecom_assets.components import SourceComponent


def source_component(spec: SourceSpec, shop: Shop) -> SourceComponent:
    """The component that `spec` names, with its attributes.

    Raises:
        ShopError: there is no such component, or an attribute is wrong.
    """
    known = {
        f"{ecom_assets.components.__name__}.{name}": getattr(ecom_assets.components, name)
        for name in ecom_assets.components.__all__
        if name != SourceComponent.__name__
    }
    if spec.type not in known:
        raise ShopError(f"{shop.file}: there is no source {spec.type!r}. Sources: {', '.join(sorted(known))}.")
    try:
        component: SourceComponent = known[spec.type].resolve_from_dict({"datasets": spec.datasets, **spec.attributes})
    except ResolutionException as error:
        raise ShopError(f"{shop.file}: {spec.type}: {error}") from None
    return component


@dg.definitions
def shop_sources(context: dg.ComponentLoadContext) -> dg.Definitions:
    """All raw and quarantine assets of the chosen shop."""
    shop = load_shop(get_settings())
    return dg.Definitions.merge(*(source_component(spec, shop).build_defs(context) for spec in shop.sources))
