"""The model registry: versions of exported models in MLflow, found again by their bytes and verified when loaded.

A version is two files, the model in a form that cannot execute code and its card as JSON; no MLflow flavour is needed
to read them. Which version is trained or trusted is decided in `ml_assets.defs`; runs, parameters and metrics are
tracked there too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

from ml_assets.core.models.export import sha256

Form = Literal["onnx", "json", "arrow"]
"""How a model is written: the ending of its file."""

CHAMPION = "champion"
"""The alias of the version that predictions are made with."""
CARD = "card.json"
_SHA256, _FORM = "sha256", "form"


class NoModel(LookupError):  # noqa: N818 - names what is the case, as the errors of the kernel do
    """The registry's model is not what was registered, or does not fit the data. The message says the cure."""


class Registered(NamedTuple):
    """A version of a model: its bytes, and the card that was stored with them."""

    name: str
    version: str
    content: bytes
    card: dict[str, Any]


@dataclass(frozen=True)
class ModelRegistry:
    """The registered models of an MLflow backend."""

    uri: str

    def find(self, name: str, digest: str) -> str | None:
        """The oldest version of `name` whose bytes have this SHA-256; None where there is none."""
        found = self._client().search_model_versions(f"name='{name}' and tags.{_SHA256}='{digest}'")
        return min((str(one.version) for one in found if _FORM in one.tags), key=int, default=None)

    def register(self, name: str, content: bytes, card: Mapping[str, Any], form: Form) -> str:
        """The version of `name` with these bytes: one that is there already, or a new one of the active MLflow run."""
        digest = sha256(content)
        return self.find(name, digest) or self._add(name, content, card, form, digest)

    def promote(self, name: str, version: str) -> None:
        """Make `version` the champion of `name`."""
        self._client().set_registered_model_alias(name, CHAMPION, version)

    def champion(self, name: str) -> Registered | None:
        """The champion of `name`, its bytes held against their SHA-256; None where no version was promoted yet.

        Raises:
            NoModel: its file was changed.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            version = self._client().get_model_version_by_alias(name, CHAMPION)
        except MlflowException:
            return None
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{version.version}"))
        file = folder / f"model.{version.tags.get(_FORM)}"
        content = file.read_bytes() if file.is_file() else b""
        if sha256(content) != version.tags.get(_SHA256):
            raise NoModel(
                f"Version {version.version} of {name} in {folder} is not what was registered: its SHA-256 differs. "
                f"Materialize models/{name} again."
            )
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return Registered(name, str(version.version), content, card)

    def _add(self, name: str, content: bytes, card: Mapping[str, Any], form: Form, digest: str) -> str:
        import mlflow
        from mlflow.exceptions import MlflowException

        client, run = self._client(), mlflow.active_run() or mlflow.start_run()
        with TemporaryDirectory() as folder:
            (Path(folder) / f"model.{form}").write_bytes(content)
            (Path(folder) / CARD).write_text(json.dumps(card, indent=2), encoding="utf-8")
            mlflow.log_artifacts(folder, name)
        with suppress(MlflowException):  # it is there
            client.create_registered_model(name)
        source = f"{run.info.artifact_uri}/{name}"
        tags = {_SHA256: digest, _FORM: form}
        return str(client.create_model_version(name, source, run.info.run_id, tags=tags).version)

    def _client(self) -> Any:
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        return mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
