"""The register knows who was erased, across processes, and names nobody."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cartograph.erasure import ErasureError, Register
from tests.unit.erasure.making import ADA, BROWSER, EMAIL, PSEUDONYM, erase_ada


def test_an_empty_register_knows_nobody_and_makes_no_file(tmp_path: Path) -> None:
    assert Register(tmp_path / "erasures").entries == ()
    assert list(tmp_path.iterdir()) == []


def test_another_process_knows_the_customer_by_the_id_alone(tmp_path: Path) -> None:
    erase_ada(tmp_path)
    register = Register(tmp_path)
    assert register.pseudonym(ADA) == PSEUDONYM == register.pseudonym(PSEUDONYM)
    assert register.pseudonym("C00000018") is None
    assert register.pseudonym("erased-somebody-said") is None
    assert register.is_known(ADA)
    assert register.is_known(EMAIL)
    assert not register.is_known("eve@example.com")
    found = register.find(ADA)
    assert found is not None
    assert found.reason == "request 17"
    assert register.find("C00000018") is None


def test_nothing_in_the_folder_names_the_customer_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    erase_ada(tmp_path)
    for path in tmp_path.iterdir():
        assert not any(value in path.read_text() for value in (ADA, EMAIL, BROWSER))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_homes_have_different_hashes_of_the_same_customer(tmp_path: Path) -> None:
    assert Register(tmp_path / "a").digest(ADA) != Register(tmp_path / "b").digest(ADA)


def test_recording_again_replaces_the_entry(tmp_path: Path) -> None:
    erase_ada(tmp_path)
    erase_ada(tmp_path, finished_at=datetime(2024, 5, 2, tzinfo=UTC))
    (entry,) = Register(tmp_path).entries
    assert entry.finished_at == datetime(2024, 5, 2, tzinfo=UTC)


def test_a_stand_in_is_the_same_for_the_same_value_and_for_itself(tmp_path: Path) -> None:
    register = Register(tmp_path)
    assert register.alias(BROWSER) == Register(tmp_path).alias(BROWSER) != register.alias("v_other")
    assert register.alias(register.alias(BROWSER)) == register.alias(BROWSER)


@pytest.mark.parametrize(("file", "content"), [("key", None), ("key", "00"), ("register.json", "[{]")])
def test_a_damaged_register_stops_loads_instead_of_bringing_customers_back(
    tmp_path: Path, file: str, content: str | None
) -> None:
    erase_ada(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(ErasureError, match="Put it back from a backup"):
        Register(tmp_path)
