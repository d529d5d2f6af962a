"""The model registry: versions of exported models in MLflow, found again by their bytes and verified when loaded.

Only ONNX and JSON go in and out. Which version is trained or trusted is decided in `ml_assets.defs`; runs, parameters
and metrics are tracked there too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ml_assets.core.models.export import sha256

CHAMPION = "champion"
"""The alias of the version that predictions are made with."""
_SHA256 = "sha256"


class NoModel(LookupError):  # noqa: N818 - names what is the case, as the errors of the kernel do
    """The registry's model is not what was registered, or does not fit the data. The message says the cure."""


class Registered(NamedTuple):
    """A version of a model: its ONNX bytes, and the card that was stored with them."""

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
        return min((str(version.version) for version in found), key=int, default=None)

    def register(self, name: str, content: bytes, card: Mapping[str, Any]) -> str:
        """The version of `name` with these bytes: one that is registered already, or a new one of the active run."""
        digest = sha256(content)
        return self.find(name, digest) or self._add(name, content, card, digest)

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
        content = (folder / "model.onnx").read_bytes()
        if sha256(content) != version.tags.get(_SHA256):
            raise NoModel(
                f"Version {version.version} of {name} in {folder} is not what was registered: its SHA-256 differs. "
                f"Materialize models/{name} again."
            )
        metadata = mlflow.models.Model.load(str(folder)).metadata or {}
        return Registered(name, str(version.version), content, dict(metadata))

    def _add(self, name: str, content: bytes, card: Mapping[str, Any], digest: str) -> str:
        import mlflow
        import onnx

        info = mlflow.onnx.log_model(
            onnx.load_from_string(content),
            name=name,
            registered_model_name=name,
            metadata=dict(card),
            # Given, because MLflow would start a process with the model to find them out.
            pip_requirements=["onnxruntime"],
            onnx_execution_providers=["CPUExecutionProvider"],
            save_as_external_data=False,
        )
        version = str(info.registered_model_version)
        self._client().set_model_version_tag(name, version, _SHA256, digest)
        return version

    def _client(self) -> Any:
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        return mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
