"""The model registry: versions of exported models in MLflow, which of them is trusted, and who decided that and why.

A version is a folder: the model in a form that cannot execute code, its card and its report as JSON, and pictures; no
MLflow flavour is needed to read them. Its tags hold what it was trained from. The promotion log is kept with the
registered model, as tags that are only ever added. Which version is trusted is judged in
`ml_assets.core.evaluation.promotion`; runs, parameters and metrics are tracked in `ml_assets.defs`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict

from ml_assets.core.evaluation.plots import Picture
from ml_assets.core.evaluation.promotion import Verdict
from ml_assets.core.models.export import sha256
from ml_assets.core.models.report import Report

Form = Literal["onnx", "json", "arrow"]
"""How a model is written: the ending of its file."""

CHAMPION = "champion"
"""The alias of the version that predictions are made with."""
CHALLENGER = "challenger"
"""The alias of the latest version that passed its checks and did not become the champion: it predicts aside."""
CARD, REPORT = "card.json", "report.json"
SNAPSHOT = "snapshot."
"""Before the name of a lake table: the tag that holds which of its snapshots a version was trained on."""
ORIGIN = ("git_commit", "shop_start", "shop_end", "data_end", "horizon_days", "designs", "definition", "earlier")
"""The other tags that say what a version was trained from."""
_SHA256, _FORM, _AS_OF = "sha256", "form", "as_of"
_FAILED, _VERDICT = "failed_checks", "verdict"
_TRAINED = "trained"
"""The registered model's tag that names the version which the latest training gave."""
_LOG = "promotion."
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""How often and for how many seconds a server is asked, unless the environment says so: MLflow takes 7 times and 120 s,
and a server that is not there would be told of after four minutes of silence."""


class NoModel(LookupError):  # noqa: N818 - names what is the case, as the errors of the kernel do
    """The registry's model is not what was registered, or does not fit the data. The message says the cure."""


class RegistryDown(RuntimeError):  # noqa: N818 - as above
    """MLflow does not answer, so nobody knows whether there is a model. The message says the cure."""


class Registered(NamedTuple):
    """A version of a model: its bytes, and the card that was stored with them.

    `report` and `pictures`, SVG by the name of the file, are for people; one that an older Cartograph registered has
    none. `definition` is what the file of a shop's own model said, as JSON.
    """

    name: str
    version: str
    content: bytes
    card: dict[str, Any]
    report: Report | None = None
    pictures: Mapping[str, bytes] = MappingProxyType({})
    definition: str | None = None


class Version(NamedTuple):
    """What the registry knows of a version but its files.

    `as_of` is the date that its card bears, None for one that an older Cartograph registered. `origin` is what it was
    trained from, by the tags SNAPSHOT and ORIGIN. `failed` are the blocking checks that it did not pass, and `verdict`
    is that of the gate; both None where it was never judged.
    """

    name: str
    version: str
    registered_at: datetime
    as_of: str | None
    sha256: str
    form: str
    aliases: tuple[str, ...]
    origin: dict[str, str]
    failed: tuple[str, ...] | None
    verdict: Verdict | None

    @property
    def definition(self) -> str | None:
        """What the file of a shop's own model said, as JSON."""
        return self.origin.get("definition")

    @property
    def snapshots(self) -> dict[str, int]:
        """The lake snapshots that it was trained on, by table."""
        return {key.removeprefix(SNAPSHOT): int(of) for key, of in self.origin.items() if key.startswith(SNAPSHOT)}


class Decision(BaseModel):
    """An entry of the promotion log: `version` took the place of the champion `previous`, if there was one.

    `by` is a person, or the training run whose gate decided it. `evidence` is what was known of the version then.
    """

    model_config = ConfigDict(frozen=True)

    action: Literal["promoted", "rolled back"]
    version: str
    previous: str | None
    by: str
    at: AwareDatetime
    reason: str
    is_gate: bool
    evidence: dict[str, float | int | str] = {}


def reigns(log: Sequence[Decision]) -> list[str]:
    """The champions that rollbacks lead back to, oldest first, the current one last: each rollback takes one off."""
    found = [log[0].previous] if log and log[0].previous else []
    for decision in log:
        if decision.action == "rolled back":
            found.pop()
        else:
            found.append(decision.version)
    return found


def withdrawn(log: Sequence[Decision]) -> frozenset[str]:
    """The versions that a person has replaced: no training puts them back, or a rollback would last until the next."""
    found: set[str] = set()
    for decision in log:
        if decision.previous is not None and not decision.is_gate:
            found.add(decision.previous)
        found.discard(decision.version)
    return frozenset(found)


@dataclass(frozen=True)
class ModelRegistry:
    """The registered models of an MLflow backend."""

    uri: str

    # --- versions

    def names(self) -> list[str]:
        """The models that have a version, by name.

        Raises:
            RegistryDown: MLflow does not answer.
        """
        with _answering("its models"):
            return sorted(model.name for model in self._client().search_registered_models())

    def versions(self, name: str) -> list[Version]:
        """The versions of `name`, oldest first; none where there is no such model.

        Raises:
            RegistryDown: MLflow does not answer.
        """
        model = self._model(name)
        if model is None:
            return []
        with _answering(name):
            found = [one for one in self._client().search_model_versions(f"name='{model.name}'") if _FORM in one.tags]
        return [_version(one, model.aliases) for one in sorted(found, key=lambda one: int(one.version))]

    def version(self, name: str, version: str) -> Version:
        """One version.

        Raises:
            NoModel: there is none of that number.
        """
        known = self.versions(name)
        found = next((one for one in known if one.version == version), None)
        if found is None:
            raise NoModel(
                f"{name} has no version {version}: there are {', '.join(one.version for one in known) or 'none'}. "
                "`cartograph models list` shows all models."
            )
        return found

    def find(self, name: str, digest: str, definition: str | None = None) -> str | None:
        """The oldest version of `name` whose bytes have this SHA-256; None where there is none.

        Of a shop's own model also its file must have said the same, which is `definition`: it tells what was asked.
        """
        wanted = (digest, definition)
        return next((one.version for one in self.versions(name) if (one.sha256, one.definition) == wanted), None)

    def register(
        self,
        run_id: str,
        name: str,
        content: bytes,
        card: Mapping[str, Any],
        form: Form,
        origin: Mapping[str, str],
        report: Report | None = None,
        pictures: Sequence[Picture] = (),
    ) -> str:
        """The version of `name` with these bytes: one that `find` finds, or a new one, of the MLflow run.

        In both cases report and pictures are artifacts of the run, in the folder `name`.
        """
        digest = sha256(content)
        known = self.find(name, digest, origin.get("definition"))
        own = {f"model.{form}": content, CARD: json.dumps(card, indent=2).encode()}
        told = {REPORT: report.model_dump_json(indent=2).encode()} if report else {}
        drawn = {picture.file: picture.content for picture in pictures}
        self._keep(run_id, name, {**({} if known else own), **told, **drawn})
        return known or self._add(run_id, name, {_SHA256: digest, _FORM: form, _AS_OF: str(card["as_of"]), **origin})

    def load(self, name: str, version: str) -> Registered:
        """A version, its bytes held against their SHA-256.

        Raises:
            NoModel: its file was changed, or there is no such version.
        """
        import mlflow

        known = self.version(name, version)
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{version}"))
        file = folder / f"model.{known.form}"
        content = file.read_bytes() if file.is_file() else b""
        if sha256(content) != known.sha256:
            raise NoModel(
                f"Version {version} of {name} in {folder} is not what was registered: its SHA-256 differs. "
                f"Materialize models/{name} again."
            )
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        told = folder / REPORT
        return Registered(
            name,
            version,
            content,
            card,
            Report.model_validate_json(told.read_bytes()) if told.is_file() else None,
            {path.name: path.read_bytes() for path in sorted(folder.glob("*.svg"))},
            known.definition,
        )

    def champion(self, name: str) -> Registered | None:
        """The champion of `name`; None where no version was promoted yet.

        Raises:
            NoModel: its file was changed.
            RegistryDown: MLflow does not answer.
        """
        return self._of_alias(name, CHAMPION)

    def challenger(self, name: str) -> Registered | None:
        """The version that waits, where one does.

        Raises:
            NoModel: its file was changed.
        """
        return self._of_alias(name, CHALLENGER)

    def aliases(self, name: str) -> dict[str, str]:
        """The version that each alias of `name` stands for."""
        model = self._model(name)
        return {alias: str(version) for alias, version in model.aliases.items()} if model else {}

    # --- judgements

    def judged(self, name: str, version: str, failed: Sequence[str], verdict: Verdict) -> None:
        """Note with the version that the latest training gave it, what it did not pass, and what the gate says."""
        client = self._client()
        client.set_model_version_tag(name, version, _FAILED, json.dumps(list(failed)))
        client.set_model_version_tag(name, version, _VERDICT, verdict.model_dump_json())
        client.set_registered_model_tag(name, _TRAINED, version)

    def latest(self, name: str) -> Version | None:
        """The version that the latest training gave; None where there was none."""
        model = self._model(name)
        version = model.tags.get(_TRAINED) if model else None
        return self.version(name, version) if version else None

    def challenge(self, name: str, version: str) -> None:
        """Let `version` wait beside the champion."""
        self._client().set_registered_model_alias(name, CHALLENGER, version)

    # --- promotion

    def log(self, name: str) -> list[Decision]:
        """The promotion log of `name`, oldest first."""
        model = self._model(name)
        entries = sorted((key, value) for key, value in model.tags.items() if key.startswith(_LOG)) if model else []
        return [Decision.model_validate_json(value) for _, value in entries]

    def promote(
        self,
        name: str,
        version: str,
        *,
        by: str,
        reason: str,
        at: datetime,
        is_gate: bool,
        evidence: Mapping[str, float | int | str],
        action: Literal["promoted", "rolled back"] = "promoted",
    ) -> Decision:
        """Make `version` the champion of `name`, and say so in the log. What waited waits no longer."""
        decision = Decision(
            action=action,
            version=version,
            previous=self.aliases(name).get(CHAMPION),
            by=by,
            at=at,
            reason=reason,
            is_gate=is_gate,
            evidence=dict(evidence),
        )
        client = self._client()
        client.set_registered_model_tag(name, f"{_LOG}{len(self.log(name)) + 1:06d}", decision.model_dump_json())
        client.set_registered_model_alias(name, CHAMPION, version)
        client.delete_registered_model_alias(name, CHALLENGER)
        return decision

    def roll_back(self, name: str, *, by: str, reason: str, at: datetime) -> Decision:
        """Make the version the champion that was it before the present one.

        Raises:
            NoModel: there was none before.
        """
        before = reigns(self.log(name))[:-1]
        if not before:
            raise NoModel(
                f"{name} has no earlier champion to go back to. `cartograph models promote {name} VERSION` takes any "
                "version; `cartograph models list` shows them."
            )
        return self.promote(
            name, before[-1], by=by, reason=reason, at=at, is_gate=False, evidence={}, action="rolled back"
        )

    # --- MLflow

    def _of_alias(self, name: str, alias: str) -> Registered | None:
        version = self.aliases(name).get(alias)
        return self.load(name, version) if version else None

    def _model(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        with _answering(name):
            try:
                return self._client().get_registered_model(name)
            except MlflowException as error:
                if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:  # or no name for a model
                    return None
                raise

    def _keep(self, run_id: str, name: str, files: Mapping[str, bytes]) -> None:
        with TemporaryDirectory() as folder:
            for file, content in files.items():
                (Path(folder) / file).write_bytes(content)
            self._client().log_artifacts(run_id, folder, name)

    def _add(self, run_id: str, name: str, tags: Mapping[str, str]) -> str:
        from mlflow.exceptions import MlflowException

        client = self._client()
        with suppress(MlflowException):  # it is there
            client.create_registered_model(name)
        source = f"{client.get_run(run_id).info.artifact_uri}/{name}"
        return str(client.create_model_version(name, source, run_id, tags=dict(tags)).version)

    def _client(self) -> Any:
        import mlflow

        mlflow.set_tracking_uri(self.uri)  # of the process, and so perhaps another registry's since
        return self._made_client

    @cached_property
    def _made_client(self) -> Any:
        import mlflow

        for variable, value in PATIENCE.items():
            os.environ.setdefault(variable, value)
        return mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)


@contextmanager
def _answering(asked: str) -> Iterator[None]:
    """Turn the failure of a question to MLflow, for what was `asked`, into RegistryDown.

    To take it for "no model yet" would empty the predictions and release without the model.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        code = error.error_code if isinstance(error, MlflowException) else type(error).__name__
        raise RegistryDown(
            f"The registry of models cannot be asked for {asked} ({code}). Look whether the database or server of "
            "CARTOGRAPH_MLFLOW_URI is up and may be read, and run again."
        ) from error


def _version(found: Any, aliases: Mapping[str, str]) -> Version:
    tags, version = found.tags, str(found.version)
    return Version(
        name=found.name,
        version=version,
        registered_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        as_of=tags.get(_AS_OF),
        sha256=tags[_SHA256],
        form=tags[_FORM],
        aliases=tuple(sorted(alias for alias, of in aliases.items() if str(of) == version)),
        origin={key: value for key, value in tags.items() if key.startswith(SNAPSHOT) or key in ORIGIN},
        failed=tuple(json.loads(tags[_FAILED])) if _FAILED in tags else None,
        verdict=Verdict.model_validate_json(tags[_VERDICT]) if _VERDICT in tags else None,
    )
