"""YAML files that people write: read safely, with the `${CARTOGRAPH_…}` variables in them filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cartograph.settings import PREFIX, environment

MOST_NESTED = 100
MERGE = "<<"
"""The name by which a mapping takes in others; it may be there several times."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with libyaml
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


class YamlFileError(ValueError):
    """A file cannot be read. The message names the file and the cure."""


def read_yaml(path: Path, form: str) -> dict[str, Any]:
    """The mapping in the file at `path`, with its variables filled in; `form` says in messages what it should be.

    Raises:
        YamlFileError: there is no such file, it is no mapping of names, has a name twice, its aliases nest, it is
            nested too deeply, or a variable of it is not set.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _require_sound(text, path)
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


class _Open:
    """A collection that has begun: whether it, or what it stands in, has an anchor; the names of a mapping so far."""

    def __init__(self, event: yaml.CollectionStartEvent, *, is_anchored: bool) -> None:
        self.is_anchored = is_anchored or event.anchor is not None
        self._is_mapping, self._is_name, self._names = isinstance(event, yaml.MappingStartEvent), True, set[str]()

    def repeated(self, event: yaml.Event) -> str | None:
        """Take in what is next in it; the name which that is, where it has that already."""
        if not self._is_mapping or not isinstance(event, yaml.NodeEvent):
            return None
        is_name, self._is_name = self._is_name, not self._is_name
        if not is_name or not isinstance(event, yaml.ScalarEvent) or event.value == MERGE:
            return None
        name = str(event.value)
        if name in self._names:
            return name
        self._names.add(name)
        return None


def _require_sound(text: str, path: Path) -> None:
    """Make sure that it can be loaded safely, and that nothing of it is lost.

    Nothing with an anchor holds an alias: a few lines of those can stand for endless content. Collections are not
    nested more deeply than the loader's stack bears. And no mapping has a name twice, of which the last would count.

    Raises:
        YamlFileError: one of these is so.
    """
    opened: list[_Open] = []
    for event in yaml.parse(text, _LOADER):
        if opened and (name := opened[-1].repeated(event)) is not None:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise YamlFileError(f"{path}, line {line}: {name} is there twice. Take one of both out.")
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append(_Open(event, is_anchored=bool(opened) and opened[-1].is_anchored))
            if len(opened) > MOST_NESTED:
                raise YamlFileError(f"{path} is nested too deeply to be read: more than {MOST_NESTED} times.")
        elif isinstance(event, yaml.CollectionEndEvent):
            opened.pop()
        elif isinstance(event, yaml.AliasEvent) and opened and opened[-1].is_anchored:
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
