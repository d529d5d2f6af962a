"""Settings explain what is wrong with a value, and their document says what they take."""

from pathlib import Path

import pytest

from cartograph.documentation import DOCS, GENERATED
from cartograph.settings import SettingsError, environment, load_settings


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "takes"),
    [
        ("CARTOGRAPH_ENV", "prod", "'local', 'staging' or 'production'"),
        ("CARTOGRAPH_PARTITION_GRAIN", "hourly", "'daily', 'weekly' or 'monthly'"),
        ("CARTOGRAPH_API_PORT", "http", "valid integer"),
        ("CARTOGRAPH_API_PORT", "70000", "less than or equal to 65535"),
        ("CARTOGRAPH_SHOP", "../etc", "lower-case letters"),
        ("CARTOGRAPH_DUCKDB_MEMORY_LIMIT", "lots", "a number above 0, of at most 7 digits, and one of MB, GB"),
        ("CARTOGRAPH_DUCKDB_MEMORY_LIMIT", "0GB", "a number above 0"),
        ("CARTOGRAPH_LATE_LIMIT_HOURS", "inf", "finite number"),
        ("CARTOGRAPH_LATE_LIMIT_HOURS", "1e300", "less than or equal to 1000000"),
        ("CARTOGRAPH_DUCKDB_MEMORY_LIMIT", "99999999TB", "of at most 7 digits"),
        ("CARTOGRAPH_HOME", "/data/shop #1", "has #, at which databases cut a path off: name another folder"),
        ("CARTOGRAPH_HOME", "/data/what?#", "has # and ?"),
        ("CARTOGRAPH_RELEASE_URI", "s3://", "a folder or s3://bucket/prefix"),
        ("CARTOGRAPH_RELEASE_URI", "gs://bucket", "a folder or s3://bucket/prefix"),
        ("CARTOGRAPH_HOME", __file__, "is a file, and it takes a folder"),
        ("CARTOGRAPH_API_HOST", "", "pattern"),
        ("CARTOGRAPH_DAGSTER_HOST", "bad host", "pattern"),
        ("CARTOGRAPH_S3_ENDPOINT_URL", "minio:9000", "pattern"),
        ("CARTOGRAPH_MLFLOW_URI", "nonsense", "pattern"),
        ("CARTOGRAPH_QUARANTINE_LIMIT_PCT", "101", "less than or equal to 100"),
        ("CARTOGRAPH_HOME", "", "it is empty, and takes a path"),
        ("CARTOGRAPH_MODELS_DIR", "", "it is empty, and takes a path"),
        ("CARTOGRAPH_RELEASE_TRUSTED_KEYS", "", "leave it out for the default"),
        ("CARTOGRAPH_LAKE_URI", "ftp://files.example.com/lake", "a folder or s3://bucket/prefix"),
        ("CARTOGRAPH_LAKE_URI", "s3:/lakes/prefix", "a folder or s3://bucket/prefix"),
    ],
)
def test_a_wrong_value_names_variable_value_and_choices(
    variable: str, value: str, takes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert f"{variable}={value}" in str(error.value)
    assert takes in str(error.value)


def test_a_home_is_a_folder_of_almost_any_name(tmp_path: Path) -> None:
    assert load_settings(home=tmp_path / "Ann's 100 % shop").home.name == "Ann's 100 % shop"


def test_a_home_is_refused_for_the_folder_that_it_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARTOGRAPH_HOME", raising=False)
    (tmp_path / "issue#7").mkdir()
    monkeypatch.chdir(tmp_path / "issue#7")
    with pytest.raises(SettingsError, match=r"issue#7/here has #, at which databases cut a path off"):
        load_settings(home="here")


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARTOGRAPH_ENV", "prod")
    monkeypatch.setenv("CARTOGRAPH_DAGSTER_PORT", "0")
    with pytest.raises(SettingsError, match=r"(?s)CARTOGRAPH_ENV=prod.*CARTOGRAPH_DAGSTER_PORT=0"):
        load_settings()


def test_the_environment_wins_over_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("CARTOGRAPH_SHOP=from_file\nCARTOGRAPH_X=1\nOTHER=2\n")
    assert load_settings().shop == "from_file"
    monkeypatch.setenv("CARTOGRAPH_SHOP", "from_process")
    assert load_settings().shop == "from_process"
    assert environment()["CARTOGRAPH_X"] == "1"
    assert "OTHER" not in environment()


def test_state_is_kept_apart_by_shop() -> None:
    one, two = load_settings(shop="one"), load_settings(shop="two")
    assert one.home == two.home
    for place in ("shop_home", "warehouse_path", "dagster_home", "resolved_catalog_uri", "resolved_lake_uri"):
        assert getattr(one, place) != getattr(two, place)
    assert one.home.is_absolute()


@pytest.mark.parametrize("name", GENERATED)
def test_generated_documents_are_up_to_date(name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == GENERATED[name](), f"docs/{name} is stale: run `make docs`"
