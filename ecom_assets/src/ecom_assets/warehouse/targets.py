"""What the targets of `profiles.yml` need before dbt is called with one: an adapter and variables.

dbt itself names the first variable that is missing, and nothing to do about an adapter that is. What the targets are is
in `profiles.yml`; how dbt is called is in `dbt_project`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import NamedTuple

import yaml

from ecom_assets.warehouse.dbt_project import PROJECT_DIR, DbtProjectError

PARSED_WITH = {"redshift": "1.11.1", "athena": "1.11.1", "snowflake": "1.12.3"}
"""The version of each adapter with which the project was parsed and which these pins do not install."""

_REQUIRED = re.compile(r"env_var\('(\w+)'\)")
_OWN_PROFILE = {"DBT_PROFILES_DIR", "DBT_PROFILE"}


class Target(NamedTuple):
    """An output of `profiles.yml`: its name, dbt's name of its adapter, and the variables that have no default."""

    name: str
    adapter: str
    variables: tuple[str, ...]


def targets() -> dict[str, Target]:
    """All targets of `profiles.yml` by name."""
    profiles = yaml.safe_load((PROJECT_DIR / "profiles.yml").read_text(encoding="utf-8"))
    return {
        name: Target(name, output["type"], tuple(_REQUIRED.findall(" ".join(map(str, output.values())))))
        for name, output in profiles["cartograph"]["outputs"].items()
    }


def chosen_target(arguments: Sequence[str], environment: Mapping[str, str]) -> Target | None:
    """The target that a dbt command works on; None where another profile is, or dbt refuses it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--target", "-t", default=environment.get("DBT_TARGET", "duckdb"))
    parser.add_argument("--profile")
    parser.add_argument("--profiles-dir")
    try:
        given, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError:
        return None
    if given.profile or given.profiles_dir or environment.keys() & _OWN_PROFILE:
        return None
    return targets().get(given.target)


def require_usable(target: Target, environment: Mapping[str, str]) -> None:
    """Raise DbtProjectError where the adapter is not installed, or variables of the target are not set, naming all."""
    if find_spec(f"dbt.adapters.{target.adapter}") is None:
        raise DbtProjectError(
            f"The dbt target {target.name} needs the adapter dbt-{target.adapter}, which {sys.prefix} does not have. "
            + _cure(target)
        )
    missing = [name for name in target.variables if name not in environment]
    if missing:
        raise DbtProjectError(
            f"The dbt target {target.name} needs variables that are not set: {', '.join(missing)}. Set them; "
            f"{PROJECT_DIR / 'profiles.yml'} says what it takes from each."
        )


def _cure(target: Target) -> str:
    if target.name not in PARSED_WITH:
        return f"Install Cartograph with the extra `{target.name}`."
    return (
        f"Install dbt-{target.adapter} {PARSED_WITH[target.name]} in a Python environment of its own and call that "
        "one's dbt in dbt_project/"
        ': README, "PostgreSQL", shows how.'
    )
