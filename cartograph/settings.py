"""The one place where the environment is read: paths, hosts, sizes and the choice of shop.

A value that differs between a laptop and production belongs here; a value that describes a shop belongs in its
file under `shops/` (see `cartograph.shops`); a constant of a method belongs beside the method.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from dotenv import dotenv_values
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cartograph.keys import RATE
from cartograph.windows import Grain

PREFIX = "CARTOGRAPH_"
DOTENV = ".env"
_PLACES = (
    "home",
    "shops_dir",
    "models_dir",
    "experiments_dir",
    "questions_dir",
    "release_signing_key",
    "release_trusted_keys",
    "alerts_file",
)
HOST = r"^[\w.:-]+$"
"""A name or an address of a network interface."""
MOST_HOURS = 1_000_000
"""The longest time that may be given in hours: 114 years, within which no calendar ends."""


class SettingsError(ValueError):
    """A setting has a value that Cartograph cannot use. The message names the variable, the value and the cure."""


class Settings(BaseSettings):
    """Every setting of Cartograph; each is the environment variable `CARTOGRAPH_<NAME>` or a line of `.env`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=DOTENV, extra="ignore", frozen=True)

    env: Literal["local", "staging", "production"] = Field("local", description="Where this process runs.")
    home: Path = Field(
        Path(".cartograph"),
        description="Folder for all state: lake, warehouse, releases, runs. Each shop has its own folder in it.",
    )
    shop: str = Field(
        "simulated", description="The shop to work on: the name of a file in the shops folder, without `.yaml`."
    )
    shops_dir: Path | None = Field(None, description="Folder of the shop files. Unset: `shops/` of the repository.")
    partition_grain: Grain = Field("monthly", description="Length of a partition. Choose it before the first load.")
    catalog_uri: str | None = Field(
        None,
        description=(
            "Iceberg catalog: an SQLAlchemy URL, `glue`, or the http(s) address of a REST catalog. "
            "Unset: SQLite in the shop's folder."
        ),
    )
    lake_uri: str | None = Field(
        None, description="Where table files are written: a folder or `s3://bucket/prefix`. Unset: the shop's folder."
    )
    release_uri: str | None = Field(
        None,
        description="Where releases are kept: a folder or `s3://bucket/prefix`, with a folder for each shop. "
        "Unset: the shop's folder.",
    )
    mlflow_uri: str | None = Field(
        None,
        description="MLflow tracking and registry: a database URL or a server. Unset: SQLite in the shop's folder.",
        pattern=r"^[a-z][a-z0-9+]*://\S+$",
    )
    s3_endpoint_url: str | None = Field(
        None,
        description="S3 address, for an S3-compatible store. Unset: AWS. Credentials come from AWS's own chain.",
        pattern=r"^https?://\S+$",
    )
    s3_region: str = Field("eu-central-1", description="S3 region.")
    duckdb_memory_limit: str = Field(
        "4GB",
        description="Memory that one DuckDB process may use before it spills to disk, as `4GB` or `512MiB`.",
    )
    duckdb_threads: int = Field(2, ge=1, le=256, description="Threads that one DuckDB process may use.")
    quarantine_limit_pct: float = Field(
        5.0,
        ge=0,
        le=100,
        description="Share of a dataset's delivered rows that may be quarantined before its check fails.",
    )
    late_limit_hours: float = Field(
        48.0,
        gt=0,
        le=MOST_HOURS,
        allow_inf_nan=False,
        description="Rows that reach the shop later than this after they happened go to the quarantine.",
    )
    models_dir: Path | None = Field(
        None, description="Folder of the shop's own models, a YAML file for each (docs/own-models.md). Unset: none."
    )
    experiments_dir: Path | None = Field(
        None,
        description=(
            "Folder of the experiments, a YAML file for each (docs/experiments.md). Unset: `experiments/` of the "
            "repository."
        ),
    )
    questions_dir: Path | None = Field(
        None,
        description="Folder of causal questions, a YAML file for each (docs/causal.md). Unset: `questions/` of the "
        "repository.",
    )
    estimators: str = Field(
        "sklearn.discriminant_analysis.LinearDiscriminantAnalysis, sklearn.ensemble.GradientBoostingClassifier, "
        "sklearn.ensemble.HistGradientBoostingClassifier, sklearn.ensemble.RandomForestClassifier, "
        "sklearn.linear_model.LogisticRegression, sklearn.linear_model.SGDClassifier, "
        "sklearn.naive_bayes.GaussianNB, sklearn.neural_network.MLPClassifier, sklearn.tree.DecisionTreeClassifier",
        description="Import paths of the estimators that the shop's own models may name, separated by commas.",
    )
    release_keep: int = Field(
        5, ge=1, description="Releases to keep when a new one is published; older ones are pruned."
    )
    release_signing_key: Path | None = Field(
        None,
        description="File of the private key that releases made here are signed with, as `cartograph release keygen` "
        "makes it. Unset: they are not signed.",
    )
    release_trusted_keys: Path | None = Field(
        None,
        description="File of public keys, one after the other: a release is taken only if one of them has signed it. "
        "Unset: no signature is asked for.",
    )
    api_host: str = Field("127.0.0.1", description="Address that the API listens on.", pattern=HOST)
    api_port: int = Field(8000, ge=1, le=65535, description="Port that the API listens on.")
    api_rate: str = Field(
        "12000/minute",
        description="Requests that a key without a rate of its own may send to one worker, e.g. `100/second`; so many "
        "without a valid key an address.",
        pattern=RATE,
    )
    api_timeout_seconds: float = Field(
        30.0, gt=0, le=600, description="How long a request's body and its answer may take."
    )
    api_allowed_hosts: str | None = Field(
        None,
        description="Names by which the API may be called (`Host`), separated by commas. Unset: any; on a "
        "laptop without keys, those of the machine itself.",
    )
    api_cors_origins: str | None = Field(
        None,
        description="Origins whose pages may call the API, e.g. `https://crm.example.com`, separated by commas. Unset: "
        "none.",
    )
    oidc_issuer: str | None = Field(
        None,
        description="Issuer of OIDC tokens that are taken beside keys; it needs `CARTOGRAPH_OIDC_AUDIENCE` and "
        "`CARTOGRAPH_OIDC_JWKS_URL`. Unset: keys only.",
        pattern=r"^https?://\S+$",
    )
    oidc_audience: str | None = Field(None, description="Audience that an OIDC token must have.")
    oidc_jwks_url: str | None = Field(
        None,
        description="Address of the issuer's public keys (JWKS); https outside `local`.",
        pattern=r"^https?://\S+$",
    )
    oidc_scope_claim: str = Field(
        "scope",
        description="Claim of an OIDC token that lists what it may do, e.g. `cartograph:read cartograph:predict`.",
    )
    otlp_endpoint: str | None = Field(
        None,
        description="Collector that takes traces of the API's requests by OpenTelemetry's protocol over HTTP, e.g. "
        "`http://localhost:4318`; needs `cartograph[tracing]`. Unset: no traces.",
        pattern=r"^https?://\S+$",
    )
    prediction_log_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the predictions of the API that are logged, without whose they are, and compared with "
        "those of the graph. 0: none.",
    )
    api_workers: int = Field(
        1, ge=1, le=64, description="Processes that the API answers with. All serve the same release within seconds."
    )
    dagster_host: str = Field("127.0.0.1", description="Address that the Dagster UI listens on.", pattern=HOST)
    dagster_port: int = Field(3000, ge=1, le=65535, description="Port that the Dagster UI listens on.")
    alerts_file: Path | None = Field(
        None,
        description="YAML file that says which alerts go where; by default to the log file and the UI only.",
    )
    docs_url: str | None = Field(
        None,
        description=(
            "Address of the folder `docs`, e.g. `https://git.example.com/cartograph/blob/main/docs`: messages link to "
            "the runbook there. Unset: they name its place in the repository."
        ),
        pattern=r"^https?://\S+$",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Level of the logs.")

    @field_validator(*_PLACES, mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        if value == "":  # it would be the folder that the command happens to be called in
            raise ValueError("it is empty, and takes a path; leave it out for the default")
        return value

    @field_validator("api_cors_origins")
    @classmethod
    def _origins(cls, value: str | None) -> str | None:
        if value and not all(re.fullmatch(r"https?://[\w.:\[\]-]+", origin) for origin in _listed(value)):
            raise ValueError("each origin is a scheme and a host, e.g. https://crm.example.com, and never *")
        return value

    @field_validator("lake_uri", "release_uri")
    @classmethod
    def _folder_or_bucket(cls, value: str | None) -> str | None:
        if value and re.match(r"[a-z0-9+]+:", value) and not re.match(r"s3://[^/]", value):
            raise ValueError("it takes a folder or s3://bucket/prefix")
        return value

    @field_validator(*_PLACES)
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None

    @field_validator("home")
    @classmethod
    def _can_be_a_folder(cls, value: Path) -> Path:
        nearest = next(one for one in (value, *value.parents) if one.exists())
        if not nearest.is_dir():
            raise ValueError(f"{nearest} is a file, and it takes a folder")
        # In the addresses of SQLite databases, Dagster's among them, these begin what is no path any more.
        if found := sorted({"#", "?"} & set(str(value))):
            raise ValueError(
                f"{value} has {' and '.join(found)}, at which databases cut a path off: name another folder"
            )
        return value

    @field_validator("duckdb_memory_limit")
    @classmethod
    def _an_amount_of_memory(cls, value: str) -> str:
        found = re.fullmatch(r"(\d{1,7}(?:\.\d+)?)\s?(?:MB|GB|TB|MiB|GiB|TiB)", value)
        if found is None or float(found[1]) == 0:
            raise ValueError("it takes a number above 0, of at most 7 digits, and one of MB, GB, TB, MiB, GiB and TiB")
        return value

    @field_validator("shop")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", value):
            raise ValueError("a shop's name is lower-case letters, digits and underscores, and begins with a letter")
        return value

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> Self:
        given = (self.oidc_issuer, self.oidc_audience, self.oidc_jwks_url)
        if any(given) and not all(given):
            raise ValueError("OIDC needs CARTOGRAPH_OIDC_ISSUER, CARTOGRAPH_OIDC_AUDIENCE and CARTOGRAPH_OIDC_JWKS_URL")
        if self.oidc_jwks_url and self.env != "local" and not self.oidc_jwks_url.startswith("https://"):
            raise ValueError(
                "CARTOGRAPH_OIDC_JWKS_URL must be https: who changes these keys on their way may do anything"
            )
        return self

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """The names that `api_allowed_hosts` lists, in lower case."""
        return frozenset(host.lower() for host in _listed(self.api_allowed_hosts or ""))

    @property
    def cors_origins(self) -> list[str]:
        """The origins that `api_cors_origins` lists."""
        return _listed(self.api_cors_origins or "")

    @property
    def keys_path(self) -> Path:
        """The SQLite file of the API's keys."""
        return self.shop_home / "keys.db"

    @property
    def audit_log(self) -> Path:
        """The log file of administrative acts: changes of keys, and what is done by the scope `admin`."""
        return self.logs_dir / "audit.jsonl"

    @property
    def resolved_shops_dir(self) -> Path:
        """The folder of the shop files: `shops_dir`, or the repository's."""
        return self.shops_dir or Path(__file__).parents[1] / "shops"

    @property
    def resolved_experiments_dir(self) -> Path:
        """The folder of the experiments: `experiments_dir`, or the repository's."""
        return self.experiments_dir or Path(__file__).parents[1] / "experiments"

    @property
    def resolved_questions_dir(self) -> Path:
        """The folder of causal questions: `questions_dir`, or the repository's."""
        return self.questions_dir or Path(__file__).parents[1] / "questions"

    @property
    def allowed_estimators(self) -> frozenset[str]:
        """The import paths that `estimators` lists."""
        return frozenset(path.strip() for path in self.estimators.split(",") if path.strip())

    @property
    def shop_home(self) -> Path:
        """The folder that holds all state of the chosen shop."""
        return self.home / self.shop

    @property
    def warehouse_path(self) -> Path:
        """The DuckDB file that only dbt writes."""
        return self.shop_home / "warehouse.duckdb"

    @property
    def dbt_docs_path(self) -> Path:
        """The site of dbt's documentation, one file, once `cartograph docs` has built it."""
        return self.shop_home / "dbt" / "docs.html"

    @property
    def dbt_docs_url(self) -> str:
        """Where the API of a local environment shows that site."""
        return f"http://{self.api_host}:{self.api_port}/dbt-docs"

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance folder: run history, event log, schedules."""
        return self.shop_home / "dagster"

    @property
    def logs_dir(self) -> Path:
        """The folder of log files, one for each run of the command line."""
        return self.shop_home / "logs"

    @property
    def events_dir(self) -> Path:
        """The folder of the event log: what the API took and the lake may not have yet."""
        return self.shop_home / "events"

    @property
    def refused_releases_path(self) -> Path:
        """The file of the releases that the API has refused to serve, and why."""
        return self.shop_home / "refused_releases.json"

    @property
    def online_path(self) -> Path:
        """The SQLite file that keeps what the API was told since the release, for its next answers."""
        return self.shop_home / "online" / "state.db"

    @property
    def alerts_path(self) -> Path:
        """The SQLite file that keeps what was alerted and what is still to be sent."""
        return self.shop_home / "alerts.db"

    @property
    def alerts_log(self) -> Path:
        """The log file that takes each alert as a line of JSON."""
        return self.logs_dir / "alerts.jsonl"

    @property
    def prediction_log_dir(self) -> Path:
        """The folder of the API's log of predictions, until the graph has loaded them."""
        return self.shop_home / "prediction_log"

    @property
    def resolved_catalog_uri(self) -> str:
        """The catalog that is used: `catalog_uri`, or SQLite in the shop's folder."""
        return self.catalog_uri or _sqlite_uri(self.shop_home / "catalog.db")

    @property
    def resolved_lake_uri(self) -> str:
        """The place of the shop's table files: beneath `lake_uri`, or a folder in the shop's folder."""
        return f"{self.lake_uri.rstrip('/')}/{self.shop}" if self.lake_uri else str(self.shop_home / "lake")

    @property
    def resolved_release_uri(self) -> str:
        """The place of the shop's releases: beneath `release_uri`, or a folder in the shop's folder.

        Each shop has its own, because one place has one current release.
        """
        return f"{self.release_uri.rstrip('/')}/{self.shop}" if self.release_uri else str(self.shop_home / "releases")

    @property
    def resolved_mlflow_uri(self) -> str:
        """The MLflow backend: `mlflow_uri`, or SQLite in the shop's folder."""
        return self.mlflow_uri or _sqlite_uri(self.shop_home / "mlflow.db")


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment and `.env`; `overrides` win, by field name.

    Raises:
        SettingsError: a value cannot be used; the message names each variable, what it got and what it takes.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from None


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return load_settings()


def environment() -> dict[str, str]:
    """The `CARTOGRAPH_*` variables of `.env` and the process, the process's winning: what a shop file may refer to."""
    merged = {**dotenv_values(DOTENV), **os.environ}
    return {name: value for name, value in merged.items() if name.startswith(PREFIX) and value is not None}


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _explain(problem: Any) -> str:
    if not problem["loc"]:  # it is about several settings, which the message names
        return str(problem["msg"]).removeprefix("Value error, ") + "."
    name = str(problem["loc"][0])
    field = Settings.model_fields.get(name)
    takes = f" {field.description}" if field is not None else ""
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{PREFIX}{name.upper()}={problem['input']!s}: {message}.{takes}"


def _sqlite_uri(path: Path) -> str:
    """The address of a SQLite database, in which a `%` of the path would begin the code of a character."""
    return f"sqlite:///{str(path).replace('%', '%25')}"
