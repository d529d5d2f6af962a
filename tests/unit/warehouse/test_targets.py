"""What is said where a target of `profiles.yml` cannot be used: all that is missing, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cartograph.cli.app import app
from ecom_assets.warehouse import targets as module
from ecom_assets.warehouse.dbt_project import DbtProjectError
from ecom_assets.warehouse.targets import PARSED_WITH, Target, chosen_target, require_usable, targets

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def test_the_profile_has_the_documented_targets_with_what_each_needs() -> None:
    assert list(targets()) == ["duckdb", "postgres", "redshift", "athena", "snowflake"]
    assert targets()["postgres"] == Target("postgres", "postgres", ("PGHOST", "PGUSER", "PGDATABASE"))
    athena = ("AWS_REGION", "ATHENA_STAGING_DIR", "ATHENA_DATA_DIR", "ATHENA_WORK_GROUP")
    assert targets()["athena"].variables == athena


@pytest.mark.parametrize("name", PARSED_WITH)
def test_readme_tells_the_version_and_the_variables_of_each_target_that_parses_only(name: str) -> None:
    assert f"dbt-{name}=={PARSED_WITH[name]}" in README
    assert [variable for variable in targets()[name].variables if variable not in README] == []


@pytest.mark.parametrize(
    ("arguments", "environment", "chosen"),
    [
        (["build"], {}, "duckdb"),
        (["build"], {"DBT_TARGET": "postgres"}, "postgres"),
        (["parse", "--target", "athena"], {"DBT_TARGET": "postgres"}, "athena"),
        (["parse", "--target=athena", "--quiet"], {}, "athena"),
        (["-t", "snowflake", "parse"], {}, "snowflake"),
        (["parse", "--target", "nowhere"], {}, None),
        (["parse", "--target"], {}, None),
        (["parse", "--target", "athena", "--profiles-dir", "/mine"], {}, None),
        (["parse", "--target", "athena", "--profile", "mine"], {}, None),
        (["parse", "--target", "athena"], {"DBT_PROFILES_DIR": "/mine"}, None),
    ],
)
def test_the_target_is_the_one_that_dbt_takes(
    arguments: list[str], environment: dict[str, str], chosen: str | None
) -> None:
    found = chosen_target(arguments, environment)
    assert (found.name if found else None) == chosen


def test_all_variables_that_are_missing_are_named() -> None:
    with pytest.raises(DbtProjectError, match=r"not set: PGHOST, PGDATABASE\. Set them; .*profiles\.yml says"):
        require_usable(targets()["postgres"], {"PGUSER": "me"})
    require_usable(targets()["postgres"], {"PGUSER": "me", "PGHOST": "there", "PGDATABASE": "warehouse"})


def test_an_adapter_that_is_missing_is_named_with_its_version_and_the_way_to_call_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    told = r"needs the adapter dbt-snowflake, which .* does not have\. Install dbt-snowflake 1\.12\.3 in a Python envir"
    with pytest.raises(DbtProjectError, match=told):
        require_usable(targets()["snowflake"], {})
    with pytest.raises(DbtProjectError, match="Install Cartograph with the extra `postgres`"):
        require_usable(targets()["postgres"], {})


def test_the_command_tells_it_before_dbt_is_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PGHOST", "DBT_PROFILES_DIR", "DBT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path))
    told = CliRunner().invoke(app, ["dbt", "parse", "--target", "postgres"]).exception
    assert isinstance(told, DbtProjectError)
    assert "The dbt target postgres needs variables that are not set: PGHOST" in str(told)


def test_the_usual_target_has_all_it_needs_from_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DBT_TARGET", "DBT_PROFILES_DIR", "DBT_PROFILE", "CARTOGRAPH_DBT_WAREHOUSE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CARTOGRAPH_HOME", str(tmp_path))
    assert CliRunner().invoke(app, ["dbt", "--version"]).exit_code == 0
