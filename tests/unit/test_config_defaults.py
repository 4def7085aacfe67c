"""Defaults that are filled into a config, and decimals that are compared as they are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runtime.errors import Invalid
from runtime.registry import config_schema
from runtime.registry.config_schema import ConfigSchema


@pytest.fixture(autouse=True, scope="module")
def close_processes() -> Iterator[None]:
    yield
    config_schema.processes.close()


def check(schema: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    return ConfigSchema(schema).check(config)


@pytest.mark.parametrize("value", [4.35, 0.07, 1.1, 100, 1e22, 0, -0.29, 123456789.01])
def test_a_decimal_is_a_multiple_as_it_is_written(value: float) -> None:
    schema = {"properties": {"price": {"type": "number", "multipleOf": 0.01, "default": 4.35}}}
    assert check(schema, {"price": value}) == {"price": value}
    assert check(schema, {}) == {"price": 4.35}


@pytest.mark.parametrize(("value", "unit"), [(4.355, 0.01), (0.5, 1), (7, 2), (1e-300, 1e300), (1e308, 3)])
def test_what_is_no_multiple_is_refused(value: float, unit: float) -> None:
    with pytest.raises(Invalid) as refused:
        check({"properties": {"price": {"multipleOf": unit}}}, {"price": value})
    assert refused.value.errors[0].path == ("config", "price")


@pytest.mark.parametrize("draft", ["draft-04", "draft-07", "2020-12"])
def test_decimals_are_exact_in_every_draft_and_behind_every_reference(draft: str) -> None:
    host = "https://json-schema.org/draft/2020-12/schema"
    name = host if draft == "2020-12" else f"http://json-schema.org/{draft}/schema#"
    schema = {"$schema": name, "properties": {"price": {"multipleOf": 0.01}, "inner": {"$ref": "#"}}}
    assert check(schema, {"inner": {"inner": {"price": 4.35}}})


MODEL = {"type": "object", "properties": {"name": {"default": "small"}, "heat": {"default": 0.5}}}
BY_KIND = {
    "required": ["kind"],
    "oneOf": [
        {"properties": {"kind": {"const": "file"}, "path": {"default": "/srv"}}, "required": ["path"]},
        {"properties": {"kind": {"const": "url"}, "wait": {"default": 3}}, "required": ["wait"]},
    ],
}


@pytest.mark.parametrize(
    ("schema", "config", "filled"),
    [
        # through references
        (
            {"$defs": {"model": MODEL}, "properties": {"a": {"$ref": "#/$defs/model"}}},
            {"a": {"heat": 1}},
            {"a": {"name": "small", "heat": 1}},
        ),
        ({"$defs": {"n": {"default": 3}}, "properties": {"n": {"$ref": "#/$defs/n"}}}, {}, {"n": 3}),
        (
            {"$defs": {"n": {"default": 3}}, "properties": {"n": {"$ref": "#/$defs/n", "default": 4}}},
            {},
            {"n": 4},
        ),
        ({"$ref": "#/$defs/model", "$defs": {"model": MODEL}}, {}, {"name": "small", "heat": 0.5}),
        ({"allOf": [MODEL, {"properties": {"heat": {"default": 9}}}]}, {}, {"name": "small", "heat": 0.5}),
        # below a default
        ({"properties": {"a": {**MODEL, "default": {}}}}, {}, {"a": {"name": "small", "heat": 0.5}}),
        # in lists and maps
        (
            {"properties": {"all": {"items": MODEL}}},
            {"all": [{"name": "x"}, {}]},
            {"all": [{"name": "x", "heat": 0.5}, {"name": "small", "heat": 0.5}]},
        ),
        (
            {"properties": {"all": {"prefixItems": [{"properties": {"x": {"default": 1}}}], "items": MODEL}}},
            {"all": [{}, {"heat": 1}]},
            {"all": [{"x": 1}, {"name": "small", "heat": 1}]},
        ),
        ({"additionalProperties": MODEL}, {"a": {"heat": 1}}, {"a": {"name": "small", "heat": 1}}),
        # in the branch that applies
        (BY_KIND, {"kind": "file"}, {"kind": "file", "path": "/srv"}),
        (BY_KIND, {"kind": "url"}, {"kind": "url", "wait": 3}),
        (
            {
                "if": {"properties": {"a": {"const": 1}}},
                "then": {"properties": {"b": {"default": 1}}},
                "else": {"properties": {"b": {"default": 2}}},
            },
            {"a": 2},
            {"a": 2, "b": 2},
        ),
        ({"anyOf": [{"type": "null"}, MODEL]}, {}, {"name": "small", "heat": 0.5}),
        # a definition that contains itself
        (
            {
                "$defs": {"node": {"properties": {"child": {"$ref": "#/$defs/node", "default": {}}}}},
                "$ref": "#/$defs/node",
            },
            {},
            {"child": {}},
        ),
    ],
)
def test_defaults_are_filled_in(
    schema: dict[str, Any], config: dict[str, Any], filled: dict[str, Any]
) -> None:
    given = {**config}
    assert check(schema, config) == filled
    assert config == given, "the caller's own stays as it is"


def test_of_several_branches_that_could_apply_none_is_filled_in() -> None:
    either = {"anyOf": [{"properties": {"a": {"default": 1}}}, {"properties": {"b": {"default": 2}}}]}
    assert check(either, {}) == {}
    with pytest.raises(Invalid):
        check(BY_KIND, {})


def test_defaults_have_a_largest_size() -> None:
    large = {"properties": {"all": {"items": {"properties": {"text": {"default": "x" * 50_000}}}}}}
    with pytest.raises(Invalid, match="does not match") as refused:
        check(large, {"all": [{} for _ in range(10)]})
    assert "256 KiB" in refused.value.errors[0].message
