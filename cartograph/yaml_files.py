"""YAML files that people write: read safely, with the `${CARTOGRAPH_…}` variables in them filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cartograph.settings import PREFIX, environment

MOST_NESTED = 100
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with libyaml
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


class YamlFileError(ValueError):
    """A file cannot be read. The message names the file and the cure."""


def read_yaml(path: Path, form: str) -> dict[str, Any]:
    """The mapping in the file at `path`, with its variables filled in; `form` says in messages what it should be.

    Raises:
        YamlFileError: there is no such file, it is no mapping of names, its aliases nest, it is nested too deeply, or a
            variable of it is not set.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _require_flat(text, path)
        content = yaml.load(text, _LOADER)  # noqa: S506  a safe one
    except YamlFileError:
        raise
    except OSError as error:
        raise YamlFileError(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, ValueError) as error:  # an impossible date or encoding is a plain ValueError
        raise YamlFileError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise YamlFileError(f"{path} must be {form}.")
    for key in content:
        if not isinstance(key, str):
            raise YamlFileError(f"{path} must be {form}: {key!r} is no name.")
    filled: dict[str, Any] = _fill(content, environment(), path)
    return filled


def variables_in(path: Path) -> set[str]:
    """The names of the variables that the file at `path` refers to."""
    return {match["name"] for match in _VARIABLE.finditer(path.read_text(encoding="utf-8", errors="replace"))}


def _require_flat(text: str, path: Path) -> None:
    """Make sure that it can be loaded safely.

    Nothing with an anchor holds an alias: a few lines of those can stand for endless content. And collections are not
    nested more deeply than the loader's stack bears.

    Raises:
        YamlFileError: one of both is so.
    """
    anchored: list[bool] = []  # of each collection that is open: whether it, or what it stands in, has an anchor
    for event in yaml.parse(text, _LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            anchored.append(event.anchor is not None or anchored[-1:] == [True])
            if len(anchored) > MOST_NESTED:
                raise YamlFileError(f"{path} is nested too deeply to be read: more than {MOST_NESTED} times.")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchored.pop()
        elif isinstance(event, yaml.AliasEvent) and anchored[-1:] == [True]:
            raise YamlFileError(
                f"{path}: the alias *{event.anchor} stands in what has an anchor itself. Write out what it stands for."
            )


def _fill(value: Any, variables: Mapping[str, str], path: Path) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, variables, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, variables, path) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if not name.startswith(PREFIX):
            raise YamlFileError(f"{path} refers to ${{{name}}}: only {PREFIX}… variables may be used there.")
        found = variables.get(name, default)
        if found is None:
            raise YamlFileError(f"{path} needs the variable {name}. Set it in the environment or in .env.")
        return found

    return _VARIABLE.sub(replace, value)
