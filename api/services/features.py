"""Features that a caller gives, as the body of a request: held against a model's declaration, and made its input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import simdjson
from pydantic import ConfigDict, FailFast, Field, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import TypedDict

from api.schemas.numbers import MOST, whole
from cartograph.releases.contents.models import FeatureSpec

MOST_ROWS = 1000
"""A batch has at most so many rows."""
_IN_JSON = {"list_type": "Input should be a valid array", "dict_type": "Input should be an object"}
"""What an error is called where the value comes of JSON; of values of Python it has their names."""
MOST_UNKNOWN = 1000
"""So many names that are no features are told one by one."""
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_NULL = b"-9223372036854775807"
"""What a null is read as where whole columns are: a whole number that is also taken for a real one."""

Matrix = npt.NDArray[np.float64]


class FeatureProblem:
    """What is wrong with a part of the request, at `path` in its body, which is empty for all of it."""

    def __init__(self, path: Sequence[str | int], message: str) -> None:
        self.path = tuple(path)
        self.message = message


class FeaturesError(ValueError):
    """The given features are not those that the model takes."""

    def __init__(self, problems: list[FeatureProblem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


class GivenFeatures:
    """Reads requests about the declared features: `{"features": {name: value}}`, or lists of values for many rows."""

    def __init__(self, specs: Sequence[FeatureSpec]) -> None:
        self._specs = {spec.name: spec for spec in specs}
        kinds = {spec.name: _annotation(spec) for spec in specs}
        self._one = _request(kinds)
        # One error of each list is told: a body of a million wrong values would take long to be answered else.
        self._many = _request({name: _list_of(kind) for name, kind in kinds.items()})
        bounds = [_bounds(spec) for spec in specs]
        self._lows = np.array([[low] for low, _ in bounds])
        self._required = np.array([not spec.nullable for spec in specs])
        self._highs = np.array([[high] for _, high in bounds])

    def one(self, body: bytes) -> Matrix:
        """The features of a request about one customer or order, of shape [1, k] with NaN for null.

        Raises:
            FeaturesError: it is no such request, or a feature is missing, unknown, of another type, not finite or out
                of its range.
        """
        given = self._valid(self._one, body)
        return np.array([[given[name] for name in self._specs]], dtype=np.float64)

    def many(self, body: bytes) -> Matrix:
        """The features of a request about up to `MOST_ROWS`, of shape [n, k] with NaN for null.

        Raises:
            FeaturesError: as of `one`, or the lists are not all as long.
        """
        columns = self._columns(body)
        if columns is None:
            # Some value is wrong, and the slower way says which and why; or it is right after all.
            given = self._valid(self._many, body)
            lengths = {name: len(given[name]) for name in self._specs}
            rows = next(iter(lengths.values()))
            if uneven := [name for name, length in lengths.items() if length != rows]:
                raise FeaturesError(
                    [
                        FeatureProblem(
                            ("features", name),
                            f"it has {lengths[name]} values, and {next(iter(lengths))} has {rows}: each feature needs "
                            "one for each row",
                        )
                        for name in uneven
                    ]
                )
            columns = np.array([given[name] for name in self._specs], dtype=np.float64)
        return columns.T

    def _columns(self, body: bytes) -> Matrix | None:
        """The features of a sound request, of shape [k, n]; None for any other, and where a list lies in a list."""
        if body.count(b"[") != len(self._specs):
            return None
        filled = body.replace(b"null", _NULL)
        nulls = (len(filled) - len(body)) // (len(_NULL) - len(b"null"))
        try:
            given: Any = simdjson.Parser().parse(filled)
            features = given["features"]
            lists = [features[name] for name in self._specs]
            sound = len(given) == 1 and len(features) == len(lists)
            lengths = {len(one) for one in lists}
        except (ValueError, RuntimeError, KeyError, TypeError, IndexError):
            return None
        if not sound or len(lengths) != 1 or not 1 <= (rows := lengths.pop()) <= MOST_ROWS:
            return None
        columns = np.empty((len(lists), rows))
        for at, (values, spec) in enumerate(zip(lists, self._specs.values(), strict=True)):
            column = _column(values, spec)
            if column is None:
                return None
            columns[at] = column
        is_null = columns == float(_NULL)
        if np.count_nonzero(is_null) != nulls or is_null[self._required].any():  # or somebody gave that very number
            return None
        columns[is_null] = np.nan
        return None if ((columns < self._lows) | (columns > self._highs)).any() else columns

    def _valid(self, request: TypeAdapter[Any], body: bytes) -> dict[str, Any]:
        # Not `validate_json`: each of its errors holds a copy of all that it is about, 5 GB of a body of 2 MiB.
        try:
            given = from_json(body)
        except ValueError as error:
            raise FeaturesError([FeatureProblem((), f"Invalid JSON: {error}")]) from None
        self._require_few(given)
        try:
            try:
                return dict(request.validate_python(given)["features"])
            except ValidationError as error:
                if not any(found["type"] == "int_type" for found in _errors(error)):
                    raise
                # Who has nulls in a column of whole numbers sends 12.0 for 12.
                return dict(request.validate_python(_with_whole_numbers(given))["features"])
        except ValidationError as error:
            raise FeaturesError([self._problem(found) for found in _errors(error)]) from None

    def _require_few(self, given: Any) -> None:
        """Refuse what has far more names than the model has features, before each becomes an error."""
        features = given.get("features") if isinstance(given, dict) else None
        names = [*given, *(features if isinstance(features, dict) else ())] if isinstance(given, dict) else []
        if len(names) > len(self._specs) + MOST_UNKNOWN:
            taken = f"the model takes {len(self._specs)} features: {', '.join(self._specs)}"
            raise FeaturesError([FeatureProblem(("features",), f"{len(names):,} names are too many; {taken}")])

    def _problem(self, found: Any) -> FeatureProblem:
        path, told = found["loc"], _IN_JSON.get(found["type"], found["msg"])
        if len(path) < 2 or path[0] != "features":
            return FeatureProblem(path, told)
        spec = self._specs.get(str(path[1]))
        if spec is None:
            return FeatureProblem(path[:2], f"the model has no such feature; it takes {', '.join(self._specs)}")
        takes = f"{spec.name} takes {_kind(spec)}: {spec.description}"
        wrong = "it is missing" if found["type"] == "missing" else told
        return FeatureProblem(path, f"{wrong}; {takes}")


def _errors(error: ValidationError) -> list[Any]:
    return error.errors(include_url=False, include_input=False)


def _with_whole_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_whole_numbers(part) for name, part in value.items()}
    return [whole(one) for one in value] if isinstance(value, list) else whole(value)


def _request(kinds: dict[str, Any]) -> TypeAdapter[Any]:
    # TypedDicts made here, not models: keys may be any names. Any: type checkers know only those written out.
    make: Any = TypedDict
    features = make("Features", kinds)
    request = make("Request", {"features": features})
    features.__pydantic_config__ = request.__pydantic_config__ = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False
    )
    return TypeAdapter(request)


def _list_of(kind: Any) -> Any:
    return Annotated[list[kind], FailFast(), Field(min_length=1, max_length=MOST_ROWS)]


def _column(values: Any, spec: FeatureSpec) -> npt.NDArray[Any] | None:
    """The values of a parsed list as an array, `_NULL` for null; None where one is not of the feature's type."""
    if not isinstance(values, simdjson.Array):
        return None
    if spec.type == "boolean":
        listed = values.as_list()
        is_sound = all(type(value) is bool or value == int(_NULL) for value in listed)
        return np.array(listed, dtype=np.float64) if is_sound else None
    is_whole = spec.type == "bigint"
    try:  # no value becomes an object of Python
        read = values.as_buffer(of_type="i") if is_whole else values.as_buffer(of_type="d")
    except (TypeError, ValueError):
        return None
    return np.frombuffer(read, np.int64 if is_whole else np.float64)


def _annotation(feature: FeatureSpec) -> Any:
    low, high = _bounds(feature)
    annotation: Any
    match feature.type:
        case "boolean":
            annotation = bool
        case "bigint":
            annotation = Annotated[int, Field(ge=int(low), le=int(high))]
        case "double":
            annotation = Annotated[float, Field(ge=low, le=high)]
    return annotation | None if feature.nullable else annotation


def _bounds(feature: FeatureSpec) -> tuple[float, float]:
    """Between which a value lies, for one of another type as its numbers."""
    low = -math.inf if feature.minimum is None else feature.minimum
    high = math.inf if feature.maximum is None else feature.maximum
    if feature.type == "boolean":
        return 0.0, 1.0
    if feature.type == "bigint":
        return float(math.ceil(max(low, -MOST))), float(math.floor(min(high, MOST)))
    return max(low, -_FLOAT32_MAX), min(high, _FLOAT32_MAX)


def _kind(feature: FeatureSpec) -> str:
    kind = {"bigint": "a whole number", "double": "a number", "boolean": "true or false"}[feature.type]
    low = "" if feature.minimum is None else f" from {feature.minimum:g}"
    high = "" if feature.maximum is None else f" up to {feature.maximum:g}"
    return f"{kind}{low}{high}{' or null' if feature.nullable else ''}"
