"""The page about trust is as the faults are, and each test that it names is there."""

from __future__ import annotations

import pytest

from tests.faults.trust_page import DOCUMENT, WITHOUT_FILES, document


def test_the_table_in_the_docs_is_that_of_the_faults() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "`make docs` writes it"


@pytest.mark.parametrize(("file", "test"), [(file, test) for *_, file, test in WITHOUT_FILES])
def test_the_tests_that_the_docs_name_are_there(file: str, test: str) -> None:
    assert f"def {test}(" in (DOCUMENT.parents[1] / file).read_text(encoding="utf-8")
