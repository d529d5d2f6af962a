"""The page about trust is as the faults are, and each test that it names is there."""

from __future__ import annotations

import re

import pytest

from cartograph.alerts.runbook import SECTIONS
from ecom_assets.warehouse.dbt_project import PROJECT_DIR
from tests.faults.drops import FAULTS
from tests.faults.trust_page import DOCUMENT, HANDOVERS, WITHOUT_FILES, document


def test_the_table_in_the_docs_is_that_of_the_faults() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "`make docs` writes it"


def test_the_readme_says_how_many_there_are() -> None:
    readme = (DOCUMENT.parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"lists {len(FAULTS) + len(WITHOUT_FILES)} faults" in readme


@pytest.mark.parametrize(("file", "test"), [(file, test) for *_, file, test in WITHOUT_FILES])
def test_the_tests_that_the_docs_name_are_there(file: str, test: str) -> None:
    assert f"def {test}(" in (DOCUMENT.parents[1] / file).read_text(encoding="utf-8")


def test_the_checks_between_layers_are_there_and_all_are_named() -> None:
    named = {check for *_, checks in HANDOVERS for check in checks}
    singular = {path.stem for path in (PROJECT_DIR / "tests").glob("*.sql")}
    models = "".join(path.read_text(encoding="utf-8") for path in (PROJECT_DIR / "models").rglob("*.yml"))
    generic = set(re.findall(r"name: ((?:reconciles|sums)_\w+)", models))
    assert generic <= named
    assert named <= generic | singular | SECTIONS
