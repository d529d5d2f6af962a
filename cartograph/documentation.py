"""Documents that are generated from code, so that they cannot drift; `make docs` writes them, a test holds them true.

Each is a pure function that returns Markdown. Prose belongs in `docs/` itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from cartograph.settings import PREFIX, Settings
from cartograph.yaml_files import variables_in

DOCS = Path(__file__).parents[1] / "docs"
SHOPS = DOCS.parent / "shops"


def configuration() -> str:
    """The table of all settings: variable, what it takes, default, meaning; and the variables of the shops' files."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_takes(field)} | {_default(field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    of_shops = [
        f"- `{variable}`: `shops/{path.name}`"
        for path in sorted(SHOPS.glob("*.yaml"))
        for variable in sorted(variables_in(path))
    ]
    return "\n".join(
        [
            "# Configuration",
            "",
            "Each setting is an environment variable or a line of `.env`; the environment wins. A wrong value stops",
            "the command with the variable's name, what it got and what it takes. `make docs` generates this page.",
            "",
            "| variable | takes | default | meaning |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            f"A shop file may refer to further variables as `${{{PREFIX}NAME}}` or `${{{PREFIX}NAME:-default}}`.",
            "The shops in this repository name:",
            "",
            *of_shops,
            "",
        ]
    )


def _takes(field: FieldInfo) -> str:
    choices = [c for c in get_args(field.annotation) if isinstance(c, str)]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    types = [t for t in get_args(field.annotation) or (field.annotation,) if t is not type(None)]
    names = {Path: "path", str: "text", int: "whole number", float: "number"}
    bounds = [
        f"{symbol} {getattr(m, name)}"
        for m in field.metadata
        for name, symbol in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
        if getattr(m, name, None) is not None
    ]
    return ", ".join([names.get(types[0], types[0].__name__), *bounds])


def _default(field: FieldInfo) -> str:
    return "unset" if field.default is None else f"`{field.default}`"


GENERATED = {"configuration.md": configuration}
"""Each generated document by its file name in `docs/`."""


def write() -> None:
    """Write all generated documents."""
    for name, document in GENERATED.items():
        (DOCS / name).write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    write()
