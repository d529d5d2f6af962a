"""What a feature is, and a table of features: the vocabulary of the catalogues, and what follows from a catalogue.

The features themselves stand in `catalogue`, `order_catalogue`, `products` and `interactions`; how values are computed
is in `customers`, `order_risk` and again the last two, and a test of each holds the two together.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cartograph.contracts import Column, Contract, Pii
from cartograph.releases.contents.models import FeatureSpec


class Feature(BaseModel):
    """One feature, with the least and the greatest value that make sense.

    `null_means` is None where it is never null; `needs` names the optional mart that it is made of. `pii` says which
    kind of personal data (a mart's column with such a tag) it tells: the API shows it to the scope `pii` only.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    type: Literal["bigint", "double"]
    unit: str
    description: str
    null_means: str | None = None
    needs: str | None = None
    pii: Pii | None = None
    minimum: float = 0
    maximum: float | None = None

    @property
    def meaning(self) -> str:
        """The feature's meaning, unit and null meaning in one line."""
        null = f" Null: {self.null_means}." if self.null_means else ""
        return f"{self.description} In {self.unit}.{null}"


AS_OF = Column(name="as_of_date", type="date", description="The row holds what was known before this day (UTC).")


class FeatureTable(BaseModel):
    """A table of features: `columns` say whose features a row holds and when; `features` are in the table's order."""

    model_config = ConfigDict(frozen=True)

    name: str
    grain: str
    key: tuple[str, ...]
    event_time: str
    columns: tuple[Column, ...]
    features: tuple[Feature, ...]

    def of(self, marts: Collection[str]) -> FeatureTable:
        """The table of a shop whose optional marts are `marts`: without the features that need another."""
        kept = tuple(feature for feature in self.features if feature.needs is None or feature.needs in marts)
        return self.model_copy(update={"features": kept})

    def contract(self) -> Contract:
        """The contract of the table in the lake."""
        return Contract(
            dataset=self.name,
            grain=self.grain,
            key=self.key,
            event_time=self.event_time,
            columns=(
                *self.columns,
                *(
                    Column(
                        name=feature.name,
                        type=feature.type,
                        nullable=feature.null_means is not None,
                        pii=feature.pii,
                        description=feature.meaning,
                    )
                    for feature in self.features
                ),
            ),
        )

    def specs(self, names: Collection[str]) -> list[FeatureSpec]:
        """The features `names` as the inputs of a model, in that order."""
        known = {feature.name: feature for feature in self.features}
        return [
            FeatureSpec(
                name=name,
                type=known[name].type,
                description=known[name].meaning,
                nullable=known[name].null_means is not None,
                minimum=known[name].minimum,
                maximum=known[name].maximum,
            )
            for name in names
        ]
