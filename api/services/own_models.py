"""The shop's own models of a release: each by its name, and what they predict of its customers."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from api.services.lookup import Rows, open_rows
from api.services.model import ReleasedModel
from cartograph.releases.contents.files import OWN_PREDICTIONS, own_model_files
from cartograph.releases.contents.tables import PREDICTION_COLUMNS, open_lists


@dataclass(frozen=True)
class OwnPrediction:
    """What one of the models predicts of a customer."""

    model: str
    version: str
    probability: float


@dataclass(frozen=True)
class OwnModels:
    """All own models of a release. Its methods may be called from several threads."""

    models: Mapping[str, ReleasedModel]
    predictions: Rows | None

    @classmethod
    def load(cls, folder: Path, names: Collection[str], listed: Container[str]) -> OwnModels:
        """Load the models `names` of the release in `folder`, and open their predictions where there are some.

        What explains one is read where it is among the `listed` files.

        Raises:
            ContentError: a file cannot be read, or has another form.
        """
        models = {name: ReleasedModel.load(folder, *own_model_files(name), listed) for name in names}
        if not names:
            return cls(models, None)
        path = folder / OWN_PREDICTIONS
        return cls(models, open_rows(path, open_lists(path, PREDICTION_COLUMNS), "customer_id"))

    def of(self, customer_id: str) -> list[OwnPrediction]:
        """The predictions of the customer of that id, by the models' names."""
        row = self.predictions.find(customer_id) if self.predictions is not None else None
        if row is None:
            return []
        entries = zip(row["models"], row["model_versions"], row["probabilities"], strict=True)
        return [OwnPrediction(*entry) for entry in entries]
