"""The site of dbt's documentation: at this machine only, and on its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from cartograph.settings import Settings
from tests.api.making import problem, service


def test_a_site_that_is_not_built_is_answered_with_the_command(tmp_path: Path) -> None:
    with service(Settings(home=tmp_path)) as client:
        assert "cartograph docs" in problem(client.get("/dbt-docs"), 404, "no-dbt-docs")["detail"]


def test_the_site_may_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with service(settings) as client:
        settings.dbt_docs_path.parent.mkdir(parents=True)
        settings.dbt_docs_path.write_text("<title>dbt Docs</title>")
        answer = client.get("/dbt-docs").raise_for_status()
    assert answer.text == "<title>dbt Docs</title>"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "http" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("env", ["staging", "production"])
def test_a_service_for_others_has_no_such_page(tmp_path: Path, env: str) -> None:
    settings = Settings(home=tmp_path, env=env)
    settings.dbt_docs_path.parent.mkdir(parents=True)
    settings.dbt_docs_path.write_text("internal")
    with service(settings) as client:
        problem(client.get("/dbt-docs"), 404)
