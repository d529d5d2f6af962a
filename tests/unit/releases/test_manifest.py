from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cartograph.releases import DamagedRelease, FileEntry, Manifest, NewerManifest, UnknownRelease
from cartograph.releases.manifest import HISTORY, Pointer, checked_id, parse_manifest, parse_pointer, release_id
from tests.unit.releases.making import MOMENT, make_inputs

SHA = "ab" * 32


def make_manifest() -> Manifest:
    inputs = make_inputs()
    files = (FileEntry(path="answer.txt", sha256=SHA, size=3),)
    identity = release_id(inputs.as_of, files)
    return Manifest(schema_version=1, release_id=identity, created_at=MOMENT, inputs=inputs, files=files)


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/../../x", "a//b", "./x", "", "a\\b", "C:x", "a\0b", ".hidden", "manifest.json"],
)
def test_a_file_name_that_climbs_hides_or_collides_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        FileEntry(path=path, sha256=SHA, size=1)


@given(st.text(alphabet=st.sampled_from("./\\ab_\0 ~"), max_size=12))
def test_an_accepted_file_name_stays_inside_its_folder(path: str) -> None:
    try:
        entry = FileEntry(path=path, sha256=SHA, size=1)
    except ValidationError:
        return
    folder = Path("/releases/one")
    reached = (folder / entry.path).resolve()
    assert reached.is_relative_to(folder)
    assert reached != folder


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("0123456789")), unique_by=lambda f: f[0]),
    st.randoms(),
)
def test_a_release_id_does_not_depend_on_the_order_of_files(found: list[tuple[str, str]], random: object) -> None:
    files = [FileEntry(path=name, sha256=digit * 64, size=1) for name, digit in found]
    shuffled = files.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert release_id(date(2026, 1, 1), files) == release_id(date(2026, 1, 1), shuffled)


def test_a_release_id_is_what_sha256sum_gives() -> None:
    # printf '%064d  a\n' 0 | sha256sum | cut -c -12
    files = (FileEntry(path="a", sha256="0" * 64, size=1),)
    assert release_id(date(2026, 1, 1), files) == "2026-01-01-53d743f33b89"


def test_a_manifest_survives_its_json() -> None:
    manifest = make_manifest()
    assert parse_manifest(manifest.model_dump_json().encode(), manifest.release_id, "m") == manifest


def test_a_manifest_of_other_files_is_damaged() -> None:
    manifest = make_manifest()
    raw = manifest.model_dump_json().replace(SHA, "cd" * 32).encode()
    with pytest.raises(DamagedRelease, match="the listed files make it"):
        parse_manifest(raw, manifest.release_id, "m")


def test_the_manifest_of_another_release_is_damaged() -> None:
    manifest = make_manifest()
    with pytest.raises(DamagedRelease, match=f"is the manifest of {manifest.release_id}"):
        parse_manifest(manifest.model_dump_json().encode(), "2026-01-01-000000000000", "m")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"3", b"null", b"{}", b'{"schema_version": 1}', b"\xff\xfe"])
def test_what_is_no_manifest_and_no_pointer_is_damaged_and_says_what_to_do(raw: bytes) -> None:
    with pytest.raises(DamagedRelease, match=r"here/manifest.json is damaged.*cartograph run"):
        parse_manifest(raw, "2026-01-01-000000000000", "here/manifest.json")
    with pytest.raises(DamagedRelease, match=r"here/current.json is damaged.*cartograph run"):
        parse_pointer(raw, "here/current.json")


def test_a_manifest_of_a_newer_schema_says_so_even_when_its_form_is_unknown() -> None:
    with pytest.raises(NewerManifest, match="schema version 2, and this Cartograph reads up to 1"):
        parse_manifest(b'{"schema_version": 2, "everything": "else"}', "2026-01-01-000000000000", "m")


@pytest.mark.parametrize("text", ["", "..", "../../etc", "2026-01-01-XYZ", "2026-01-01-0123456789ab/..", "latest"])
def test_what_is_no_release_id_names_no_folder(text: str) -> None:
    with pytest.raises(UnknownRelease, match="is not a release id"):
        checked_id(text)


RELEASES = [f"2026-01-01-{n:012x}" for n in range(5)]


@given(st.lists(st.sampled_from(RELEASES), min_size=1))
def test_going_back_undoes_going_forward(targets: list[str]) -> None:
    pointer = Pointer(current=RELEASES[0])
    for target in targets:
        moved = pointer.moved_to(target)
        if target != pointer.current:
            back = moved.moved_back(RELEASES)
            assert back is not None
            assert back.current == pointer.current
        pointer = moved
    assert len(pointer.previous) <= HISTORY


def test_going_back_skips_what_is_gone() -> None:
    pointer = Pointer(current=RELEASES[2], previous=(RELEASES[0], RELEASES[1]))
    back = pointer.moved_back([RELEASES[0], RELEASES[2]])
    assert back == Pointer(current=RELEASES[0])
    assert pointer.moved_back([RELEASES[2]]) is None
