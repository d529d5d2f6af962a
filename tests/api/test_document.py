"""The OpenAPI document tells by example: of each parameter, of each body and of each value in it, and of each error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from api.schemas.problem import MEDIA_TYPE

Schema = Mapping[str, Any]


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    """The document as it is served."""
    found: dict[str, Any] = client.get("/openapi.json").raise_for_status().json()
    return found


def operations(document: Schema) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def examples_of(schema: Schema) -> list[Any]:
    return [*schema.get("examples", ()), *(schema[key] for key in ("example", "default") if key in schema)]


def parts(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The schemas that lie in a schema, and where."""
    for name, inner in schema.get("properties", {}).items():
        yield f".{name}", inner
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield "[]" if key == "items" else "{}", schema[key]
    for key in ("anyOf", "prefixItems"):
        for at, inner in enumerate(schema.get(key, ())):
            yield f" {key} {at}", inner


def schemas(document: Schema) -> Iterator[tuple[str, Schema]]:
    """All schemas of the document that are no part of another, and where."""
    yield from document["components"]["schemas"].items()
    for name, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            yield f"{name} {parameter['name']}", parameter["schema"]
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} {kind}", content["schema"]


def without_example(schema: Schema, where: str) -> Iterator[str]:
    """Values that neither their schema, nor one that it lies in, shows an example of."""
    if "$ref" in schema or schema.get("type") == "null" or schema.keys() & {"const", "enum"}:
        return
    shown = examples_of(schema)
    if "properties" in schema:
        named = {name for one in shown for name in one}
        for name, inner in schema["properties"].items():
            if name not in named:
                yield from without_example(inner, f"{where}.{name}")
        return
    if shown:
        return
    choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if choices and not all(list(without_example(one, where)) for one in choices):
        return
    within = list(parts(schema))
    if not within:
        yield where
    for place, inner in within:
        yield from without_example(inner, where + place)


def shown_examples(schema: Schema, where: str) -> Iterator[tuple[str, Schema, Any]]:
    """Each example of a schema and of those in it, with the schema that shows it."""
    for example in examples_of(schema):
        yield where, schema, example
    for place, inner in parts(schema):
        yield from shown_examples(inner, where + place)


def test_each_parameter_and_each_value_has_an_example(document: dict[str, Any]) -> None:
    assert [bare for where, schema in schemas(document) for bare in without_example(schema, where)] == []


def test_each_parameter_of_a_query_shows_its_own_example(document: dict[str, Any]) -> None:
    """Not only one of its forms, which is null or something: tools look at the parameter itself."""
    queries = [one for _, operation in operations(document) for one in operation.get("parameters", ())]
    assert [one["name"] for one in queries if one["in"] == "query" and not examples_of(one["schema"])] == []


def test_each_body_of_a_request_is_shown_as_a_whole(document: dict[str, Any]) -> None:
    named = document["components"]["schemas"]
    bare = []
    for name, operation in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = content["schema"]
            if not examples_of(named[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema):
                bare.append(name)
    assert bare == []


def test_each_example_is_one_of_what_it_stands_for(document: dict[str, Any]) -> None:
    shown = [one for where, schema in schemas(document) for one in shown_examples(schema, where)]
    assert len(shown) > 200
    wrong = [
        f"{where}: {error.message}"
        for where, schema, example in shown
        for error in Draft202012Validator(
            {**schema, "components": document["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
        ).iter_errors(example)
    ]
    assert wrong == []


def test_each_operation_tells_its_errors_as_problems(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        errors = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        needed = {"421"}
        if "security" in operation:
            needed |= {"401", "403", "429", "503"}
        if operation.get("parameters"):
            needed |= {"422"}
        if any(one["in"] == "path" for one in operation.get("parameters", ())):
            needed |= {"404"}
        if "requestBody" in operation:
            needed |= {"400", "408", "413", "415", "422"}
        assert needed <= errors.keys(), name
        for status, answer in errors.items():
            assert answer["description"], (name, status)
            assert answer["content"] == {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}, name
