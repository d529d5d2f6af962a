"""How dbt is called for a shop: its folders, its environment, and the parsed project (manifest).

State never goes into the repository: dbt's target folders stand in the shop's home, and the parsed project, which is
the same for all homes, in the Python environment. What dbt builds is in `dbt_project/`; what Dagster makes of it is in
`ecom_assets.defs.dbt`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import duckdb

from cartograph.settings import PREFIX, Settings
from cartograph.shops import load_shop
from cartograph.windows import Window

PROJECT_DIR = Path(__file__).parents[4] / "dbt_project"
VIEWS_VARIABLE = "CARTOGRAPH_DBT_VIEWS"
WAREHOUSE_VARIABLE = "CARTOGRAPH_DBT_WAREHOUSE"
PARSED_VARIABLE = "CARTOGRAPH_DBT_PARSED"
VARS_VARIABLE = "CARTOGRAPH_DBT_VARS"
PARTIAL_PARSE = "partial_parse.msgpack"
PARSED_DBT = ("-m", "ecom_assets.warehouse.parsed_dbt")
"""What Python is called with to run dbt on the parsed project in `CARTOGRAPH_DBT_PARSED`."""
PARSES_KEPT = 10
"""Parsed projects that are kept, the latest; there is one for each set of datasets, and for each state of the files."""
_MANIFEST = "manifest.json"
_RUN_RESULTS = "run_results.json"
_PARSING = ".parsing-"
_MADE_BY_DBT = frozenset({"target", "logs", "dbt_packages"})
"""Folders that dbt makes in the project where nothing tells it another place, as when it is called bare."""
_FOUND = "found_"
_IDENTIFIES = re.compile(rf"_(id|key|number|date|month|day|name|at)$|^({_FOUND}|missing_)")
_STATIC_SITE = "static_index.html"
_DONE = {_MANIFEST: "parsed", _STATIC_SITE: "documented", _RUN_RESULTS: "built"}
"""What is done once a file is there."""


class DbtProjectError(RuntimeError):
    """The dbt project cannot be parsed or documented. The message has dbt's own words and where its log is."""


def dbt_home(settings: Settings) -> Path:
    """The folder of dbt's state for the shop: parsed projects, run targets, logs, pins."""
    return settings.shop_home / "dbt"


def dbt_executable() -> str:
    """The dbt of this Python environment, which need not be on the PATH."""
    return str(Path(sys.executable).with_name("dbt"))


def dbt_environment(
    settings: Settings, datasets: Collection[str], *, window: Window | None = None, views_file: Path | None = None
) -> dict[str, str]:
    """The variables with which dbt and its plugin work on this shop, whatever folder dbt runs in.

    `window` bounds the facts that are built, midnight to midnight; None builds all. `views_file` holds what is read of
    the lake (`lake_views.write_views`); None reads what is current.
    """
    chosen = {f"{PREFIX}{name.upper()}": str(value) for name, value in settings if value is not None}
    chosen[WAREHOUSE_VARIABLE] = str(settings.warehouse_path)
    chosen["CARTOGRAPH_DBT_DATASETS"] = ",".join(sorted(datasets))
    chosen["CARTOGRAPH_DBT_MIN_DATE"] = window.start.date().isoformat() if window else ""
    chosen["CARTOGRAPH_DBT_MAX_DATE"] = window.end.date().isoformat() if window else ""
    chosen[VARS_VARIABLE] = json.dumps(load_shop(settings).dbt_vars)
    chosen["DBT_LOG_LEVEL_FILE"] = "info"  # debug lines in dbt's log file are a tenth of its time
    if views_file is not None:
        chosen[VIEWS_VARIABLE] = str(views_file)
    return chosen


@contextmanager
def environment_of(variables: Mapping[str, str]) -> Iterator[None]:
    """This process's environment with `variables`, for as long as the block lasts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def parsed_project(settings: Settings, datasets: Collection[str]) -> Path:
    """The target folder that holds the manifest of the project as it is now, for a shop with these datasets.

    dbt parses only when the project's files, the datasets, the grain or dbt's version have changed since: seconds,
    once for all homes that this Python environment serves. Of processes that ask at the same time one parses, aside,
    and the others wait until it has renamed the folder.

    Raises:
        DbtProjectError: the project does not parse.
    """
    parent = parsed_projects(settings)
    folder = parent / _fingerprint(PROJECT_DIR, settings, datasets)
    if (folder / _MANIFEST).is_file():
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel frees it when the process ends, however it ends
        if not (folder / _MANIFEST).is_file():
            _parse_into(folder, settings, datasets)
    return folder


def parsed_projects(settings: Settings) -> Path:
    """The folder of parsed projects: in the Python environment, or in the shop's home where that cannot be written."""
    environment = Path(sys.prefix)
    return environment / "var" / "dbt_parsed" if os.access(environment, os.W_OK) else dbt_home(settings) / "parsed"


def _parse_into(folder: Path, settings: Settings, datasets: Collection[str]) -> None:
    """Parse aside, move the result to `folder`, and delete the earliest."""
    parent = folder.parent
    for left in parent.glob(f"{_PARSING}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(dir=parent, prefix=_PARSING))
    try:
        _reuse_newest_parse(parent, datasets, aside)
        _parse(settings, datasets, aside)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    latest_first = sorted(parent.glob("[!.]*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for earlier in latest_first[PARSES_KEPT:]:
        shutil.rmtree(earlier, ignore_errors=True)


def _fingerprint(project: Path, settings: Settings, datasets: Collection[str]) -> str:
    """A digest of everything that a parse depends on, after one of the folder and the datasets alone."""
    digest = hashlib.sha256()
    for name in ("dbt-core", "dbt-duckdb"):
        digest.update(f"{name}={version(name)}\0".encode())
    digest.update(f"{settings.partition_grain}\0{os.environ.get('DBT_TARGET', '')}\0".encode())
    for path in sorted(project.rglob("*")):
        is_made_by_dbt = path.relative_to(project).parts[0] in _MADE_BY_DBT
        if path.suffix in {".sql", ".yml", ".md", ".csv"} and not is_made_by_dbt:
            digest.update(f"\0{path.relative_to(project).as_posix()}\0".encode() + path.read_bytes())
    return f"{_group(project, datasets)}-{digest.hexdigest()[:16]}"


def _group(project: Path, datasets: Collection[str]) -> str:
    """A digest of the project's folder and the datasets."""
    return hashlib.sha256(f"{project}\0{','.join(sorted(datasets))}".encode()).hexdigest()[:8]


def _reuse_newest_parse(parent: Path, datasets: Collection[str], target: Path) -> None:
    """Give dbt the last parse to start from: where the connection is the same, it reads only the files that changed.

    Of the same folder and datasets: dbt looks for seeds where they were in the parse it starts from, and leaves unit
    tests disabled that were so there.
    """
    group = _group(PROJECT_DIR, datasets)
    parses = sorted(parent.glob(f"{group}-*/{PARTIAL_PARSE}"), key=lambda path: path.stat().st_mtime)
    if parses:
        shutil.copy(parses[-1], target / PARTIAL_PARSE)


def _parse(settings: Settings, datasets: Collection[str], target: Path) -> None:
    # Nothing is opened, and where the connection is called the same for all homes the next parse can start from it.
    same_for_all = {WAREHOUSE_VARIABLE: settings.warehouse_path.name}
    _dbt([dbt_executable(), "parse"], settings, datasets, target, done=_MANIFEST, variables=same_for_all)


def _parsed_dbt(
    settings: Settings,
    datasets: Collection[str],
    target: Path,
    *arguments: str,
    done: str,
    variables: Mapping[str, str] = MappingProxyType({}),
    lock: IO[str] | None = None,
) -> None:
    """Call dbt on the project as it is parsed for all homes."""
    command = [sys.executable, *PARSED_DBT, *arguments]
    variables = {**variables, PARSED_VARIABLE: str(parsed_project(settings, datasets))}
    _dbt(command, settings, datasets, target, done=done, variables=variables, lock=lock)


def _dbt(
    command: Sequence[str],
    settings: Settings,
    datasets: Collection[str],
    target: Path,
    *,
    done: str,
    variables: Mapping[str, str],
    lock: IO[str] | None = None,
) -> None:
    """Call dbt on the shop, with `variables` besides; the file `done` is in `target` afterwards.

    dbt holds `lock`, too: where this process is killed, it is kept for as long as dbt is at work.
    """
    folders = {"DBT_TARGET_PATH": str(target), "DBT_LOG_PATH": str(dbt_home(settings) / "logs")}
    ended = subprocess.run(
        [*command, "--no-use-colors", "--quiet"],
        cwd=PROJECT_DIR,
        env={**os.environ, **dbt_environment(settings, datasets), **variables, **folders},
        pass_fds=() if lock is None else (lock.fileno(),),
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode != 0 or not (target / done).is_file():
        raise DbtProjectError(
            f"The dbt project in {PROJECT_DIR} cannot be {_DONE[done]}:\n"
            f"{(ended.stdout + ended.stderr).strip()}\n"
            f"Correct it; dbt's log is in {folders['DBT_LOG_PATH']}."
        )


@contextmanager
def work_folder(settings: Settings, prefix: str) -> Iterator[Path]:
    """A folder for as long as the block lasts; what a process that was killed left of its kind is deleted.

    Nobody else is at work in one: who documents or rebuilds holds the shop's run lock or has its warehouse open.
    """
    for left in dbt_home(settings).glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=dbt_home(settings), prefix=prefix) as aside:
        yield Path(aside)


def build_beside(settings: Settings, datasets: Collection[str], warehouse: Path, views_file: Path) -> None:
    """Build all models over all of history in the DuckDB file `warehouse`, beside the shop's own; no test is run.

    Raises:
        DbtProjectError: a model cannot be built.
    """
    with work_folder(settings, ".beside-") as target:
        _parsed_dbt(
            settings,
            datasets,
            target,
            *("build", "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"),
            done=_RUN_RESULTS,
            variables={WAREHOUSE_VARIABLE: str(warehouse), VIEWS_VARIABLE: str(views_file)},
        )


def require_warehouse(settings: Settings) -> None:
    """Raise DbtProjectError where the shop has no warehouse, which dbt would make, empty, to document it."""
    if not settings.warehouse_path.is_file():
        raise DbtProjectError(
            f"There is no warehouse at {settings.warehouse_path} to document. `cartograph run` builds it."
        )


def require_free(warehouse: Path) -> None:
    """Raise DbtProjectError where another process has `warehouse` open; dbt parses for seconds before it says so."""
    if not warehouse.is_file():
        return
    try:
        duckdb.connect(str(warehouse)).close()
    except duckdb.IOException as error:
        raise DbtProjectError(told_as_held(warehouse, error)) from None


def told_as_held(warehouse: Path | str, error: duckdb.Error) -> str:
    """What is said of a warehouse that cannot be opened, with DuckDB's own words, which have the other process."""
    return (
        f"The warehouse {warehouse} cannot be opened: {error}\n"
        "Where another process has it open, wait for that process or end it, and try again."
    )


def write_docs(settings: Settings, datasets: Collection[str], lock: IO[str]) -> Path:
    """The site of dbt's documentation as one file, made anew: models, columns, lineage and the warehouse's tables.

    It loads nothing from elsewhere; dbt opens the warehouse for it, so nothing else may have it open: `lock` is that of
    the shop's runs.

    Raises:
        DbtProjectError: there is no warehouse yet, another process has it open, or the project does not parse.
    """
    require_warehouse(settings)
    require_free(settings.warehouse_path)
    with work_folder(settings, ".docs-") as target:
        _parsed_dbt(settings, datasets, target, "docs", "generate", "--static", done=_STATIC_SITE, lock=lock)
        (target / _STATIC_SITE).replace(settings.dbt_docs_path)
    return settings.dbt_docs_path


def read_manifest(target: Path) -> dict[str, Any]:
    """The manifest in a target folder."""
    manifest: dict[str, Any] = json.loads((target / _MANIFEST).read_bytes())
    return manifest


def failures(target: Path) -> list[str]:
    """What failed in the dbt run whose target folder this is: each model or test, dbt's words, and its compiled SQL.

    Empty where dbt did not come as far as to run a model.
    """
    results = target / _RUN_RESULTS
    if not results.is_file():
        return []
    nodes = read_manifest(target)["nodes"]
    failed = [
        r for r in json.loads(results.read_bytes())["results"] if r["status"] in {"error", "fail", "runtime error"}
    ]
    return [_failure(nodes[result["unique_id"]], result["message"]) for result in failed]


def looks_at_window(test: Mapping[str, Any]) -> bool:
    """Whether a test, a node of the manifest, asks about the rows of the run's window only.

    One of this project's own says so in its SQL; a generic one where it is told the column of time.
    """
    kwargs = (test.get("test_metadata") or {}).get("kwargs", {})
    return "in_window(" in test["raw_code"] or bool(kwargs.get("event_time"))


def offending_rows(connection: duckdb.DuckDBPyConnection, target: Path, samples: int) -> dict[str, list[str]]:
    """Some rows that each failed test of the last dbt run selects, as text, by the test's unique id.

    Shown are the columns that identify a row (`…_id`, `…_key`, `…_date`, …) and those that say by how much it is wrong:
    `found_…` with the column that it should equal, and `missing_…`; where there are none, the first.
    """
    results = target / _RUN_RESULTS
    if not results.is_file():
        return {}
    found = {}
    for result in json.loads(results.read_bytes())["results"]:
        if result["status"] in {"fail", "warn"} and result.get("compiled_code"):
            selected = connection.execute(f"SELECT * FROM ({result['compiled_code']}) LIMIT {samples}")
            names = [column[0] for column in selected.description]
            shown = [
                place for place, name in enumerate(names) if _IDENTIFIES.search(name) or f"{_FOUND}{name}" in names
            ] or [0]
            rows = selected.fetchall()
            found[result["unique_id"]] = [", ".join(f"{names[p]}={row[p]}" for p in shown) for row in rows]
    return found


def _failure(node: Mapping[str, Any], message: str | None) -> str:
    compiled = node.get("compiled_path")
    where = PROJECT_DIR / compiled if compiled else PROJECT_DIR / node["original_file_path"]
    return f"{node['resource_type']} {node['name']}: {(message or 'failed').strip()} (compiled SQL: {where})"
