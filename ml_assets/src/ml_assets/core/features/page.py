"""The page `docs/features.md`, generated from the catalogues of all feature tables; `make docs` writes it."""

from __future__ import annotations

from collections.abc import Iterator

from cartograph.documentation import DOCS
from ml_assets.core.features.catalogue import CUSTOMER_FEATURES
from ml_assets.core.features.daily_demand import DAILY_DEMAND
from ml_assets.core.features.definition import Feature, FeatureTable
from ml_assets.core.features.interactions import INTERACTIONS
from ml_assets.core.features.order_catalogue import ORDER_RISK
from ml_assets.core.features.products import PRODUCT_FEATURES

TABLES = (CUSTOMER_FEATURES, PRODUCT_FEATURES, INTERACTIONS, DAILY_DEMAND, ORDER_RISK)
PAGE = DOCS / "features.md"

_INTRODUCTION = """# Feature catalogue

What the models learn from, one section for each table of `features.*` in the lake. No later fact has a part in a row:
the check `nothing_from_the_future` of each table computes rows again from data that end at their moment.
`make docs` generates this page from `ml_assets.core.features`.
"""


def page() -> str:
    """The page as Markdown."""
    return "\n".join([_INTRODUCTION, *(line for table in TABLES for line in _section(table))]).rstrip() + "\n"


def _section(table: FeatureTable) -> Iterator[str]:
    yield f"## features/{table.name}"
    yield ""
    yield table.grain
    yield ""
    yield "| feature | type | unit | range | meaning | null means |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for feature in table.features:
        yield (
            f"| `{feature.name}` | {feature.type} | {feature.unit} | {_range(feature)} | {feature.description} | "
            f"{_null(feature)} |"
        )
    yield ""


def _range(feature: Feature) -> str:
    return f"{feature.minimum:g} to {feature.maximum:g}" if feature.maximum is not None else f"from {feature.minimum:g}"


def _null(feature: Feature) -> str:
    needs = [f"made of `{feature.needs}`"] if feature.needs else []
    return "; ".join([feature.null_means or "never null", *needs])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
