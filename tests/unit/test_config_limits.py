"""Whatever schema an author wrote and whatever config somebody sends, checking it is bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from runtime.errors import Invalid
from runtime.process_pool import ProcessPool
from runtime.registry import config_schema, discover, json_schema, schema_cost
from runtime.registry.config_schema import CHECK_SECONDS, MAX_BYTES, ConfigSchema

pytestmark = pytest.mark.timeout(90)

SLOW_TEXT = "a" * 40 + "!"
SLOW_PATTERN = {"pattern": "^(a+)+$"}
WIDE = "(?i)[\\u0000-\\U0010ffff]"
"""Takes a second to compile."""
OBJECTS = [{"n": number} for number in range(6000)]
DIFFERENT = [number if number % 2 else str(number) for number in range(20_000)]


@pytest.fixture(autouse=True)
def close_processes() -> Iterator[None]:
    yield
    config_schema.processes.close()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A check may take a fifth of its time, for what would take for ever."""
    hurried = ProcessPool(json_schema.examine, size=1, seconds=CHECK_SECONDS / 5, patience=10)
    monkeypatch.setattr(config_schema, "processes", hurried)
    yield
    hurried.close()


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("schema", "config"),
    [
        ({"properties": {"a": SLOW_PATTERN}}, {"a": SLOW_TEXT}),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {SLOW_TEXT: 1}),
        ({"propertyNames": SLOW_PATTERN}, {SLOW_TEXT: 1}),
        ({"additionalProperties": {"anyOf": [{"not": SLOW_PATTERN}, {"type": "null"}]}}, {"a": SLOW_TEXT}),
        ({"properties": {"a": {"uniqueItems": True}}}, {"a": OBJECTS}),
        ({"properties": {"a": {"uniqueItems": True}}}, {"a": DIFFERENT}),
        (
            {
                "$ref": "#/$defs/a",
                "$defs": {"a": {"anyOf": [{"additionalProperties": {"$ref": "#/$defs/a"}}] * 2, "not": {}}},
            },
            json.loads('{"a":' * 40 + "1" + "}" * 40),
        ),
        (
            {
                "$defs": {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 9} for n in range(9)}
                | {"a9": {"required": ["b"]}},
                "not": {"allOf": [{"$ref": "#/$defs/a0"}, {"required": ["c"]}]},
                "minProperties": 1,
            },
            {"b": 1},
        ),
    ],
)
def test_a_check_that_would_take_for_ever_ends_as_a_mistake_in_the_config(schema: Any, config: Any) -> None:
    with pytest.raises(Invalid) as refused:
        ConfigSchema(schema).check(config)

    assert [error.path for error in refused.value.errors] == [("config",)]
    assert "could not be checked within 1 s" in str(refused.value)


@pytest.mark.parametrize(
    ("schema", "config"),
    [
        ({"properties": {"a": {"pattern": "x|z"}}}, {"a": "y"}),
        ({"properties": {"a": {"uniqueItems": True}}}, {"a": [1, 1]}),
        ({"properties": {"a": {"format": "ipv4"}}}, {"a": "y"}),
        ({"properties": {"a": {"items": {"$ref": "#"}, "type": "array"}}}, {"a": [{"a": 1}]}),
        ({"properties": {"a": {"items": {"type": "string"}}}}, {"a": ["x"] * 5000 + [1]}),
    ],
)
def test_what_is_checked_aside_is_checked_as_in_place(schema: Any, config: Any) -> None:
    with pytest.raises(Invalid) as refused:
        ConfigSchema(schema).check(config)

    assert refused.value.errors[0].path[:2] == ("config", "a")
    assert refused.value.errors[0].message


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"pattern": "^[a-z]+$"}, "B", "does not have the expected form"),
        ({"pattern": "^[a-z]+$", "examples": [5, "tea"]}, "B", "must look like this: tea"),
        ({"not": {"const": "B"}}, "B", "has a value that is not allowed"),
        ({"format": "email"}, "B", "is not a valid email"),
        ({"anyOf": [{"type": "null"}, {"pattern": "^[a-z]+$"}]}, "B", "has none of the expected forms"),
        ({"oneOf": [{"type": "null"}, {"pattern": "^[a-z]+$"}]}, "B", "has none of the expected forms"),
        ({"oneOf": [{"maxLength": 2}, {"type": "string"}]}, "B", "may have one only"),
        ({"propertyNames": {"pattern": "^[a-z]+$"}}, {"B": 1}, "has the name 'B', which does not have"),
        (
            {"patternProperties": {"^[a-z]+$": {}}, "additionalProperties": False},
            {"B": 1},
            "has names that are not allowed",
        ),
        ({"additionalProperties": False}, {"B": 1}, "'B' was unexpected"),
        ({"contains": {"pattern": "^[a-z]+$"}}, ["B"], "has no item of the expected form"),
        ({"uniqueItems": True}, ["B", "B"], "has the same item more than once"),
    ],
)
def test_what_is_wrong_is_said_without_the_schema(schema: Any, value: Any, message: str) -> None:
    [(path, said)] = json_schema.mistakes({"properties": {"a": schema}}, {"a": value}) or []
    assert path == ["a"]
    assert message in said
    assert "[a-z]" not in said
    assert "{" not in said


def test_a_value_where_the_schema_allows_none_is_named() -> None:
    found = json_schema.mistakes({"properties": {"a": False}}, {"a": "B"})
    assert found == [([], "has a value that is not allowed: 'B'")]


def test_a_config_beyond_its_size_is_refused_by_any_schema() -> None:
    schema = ConfigSchema({})

    assert schema.check({"a": "x" * (MAX_BYTES - 8)})
    with pytest.raises(Invalid, match="at most 256 KiB"):
        schema.check({"a": "x" * MAX_BYTES})


def test_a_plain_schema_and_a_config_of_ordinary_size_need_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config_schema, "processes", None)
    schema = ConfigSchema(
        {
            "type": "object",
            "properties": {
                "model": {"type": "string", "description": "which", "default": "small", "minLength": 1},
                "temperature": {"type": "number", "minimum": 0, "maximum": 2},
                "tools": {"type": "array", "items": {"$ref": "#/$defs/tool"}, "maxItems": 10},
                "mode": {"oneOf": [{"const": "fast"}, {"enum": ["slow", "slower"]}]},
            },
            "$defs": {"tool": {"type": "object", "required": ["name"]}},
            "additionalProperties": False,
        }
    )

    config = {"model": "m", "temperature": 1, "tools": [{"name": "x"}] * 5, "mode": "slow"}
    assert schema.check(config) == config
    with pytest.raises(Invalid):
        schema.check({"mode": "neither"})


PLAIN_PATTERNS = (
    "^x",
    "^https?://[^\\s]+$",
    "^[a-z0-9][a-z0-9_-]{0,63}$",
    "^[A-Z]{2}-\\d\\d\\d$",
    "^\\w+\\.json$",
    "^a?b?.*$",
)
OTHER_PATTERNS = (
    "^(a+)+$",
    "a+b",
    "^a*b*$",
    "^a?a?a?aaa$",
    "^a{2}b{2}",
    "^a|b",
    WIDE,
    "^\\1",
    "^(?=a)",
    "^a+?b",
    "^" + "a" * 100,
    "^[",
)


@pytest.mark.parametrize("pattern", PLAIN_PATTERNS)
def test_a_plain_pattern_is_checked_in_place(pattern: str) -> None:
    assert not ConfigSchema({"properties": {"a": {"pattern": pattern}}}).needs_process


@pytest.mark.parametrize("pattern", OTHER_PATTERNS)
def test_any_other_pattern_needs_a_process(pattern: str) -> None:
    document = {"properties": {"a": {"pattern": pattern}}}

    assert schema_cost.cost(document, Draft202012Validator.VALIDATORS) is None


@settings(deadline=None)
@given(st.text("ab.^$?+*{}[]()|-\\d0123,", max_size=12))
def test_a_plain_pattern_goes_through_a_long_text_at_once(rest: str) -> None:
    pattern = f"^{rest}"
    if not schema_cost._is_plain(pattern):
        return
    with suppress(re.error):
        for character in "ab1":
            re.search(pattern, character * 15_000 + "!")  # else this would last beyond the time of a test


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$schema": "http://json-schema.org/draft-04/schema#", "enum": OBJECTS}, "could not be checked"),
        ({"allOf": [{"pattern": f"{WIDE}{n}"} for n in range(300)]}, "could not be checked"),
        ({"description": "x" * MAX_BYTES}, "larger than 256 KiB"),
        ({"enum": ["x" * MAX_BYTES]}, "larger than 256 KiB"),
    ],
)
def test_a_schema_that_cannot_be_checked_in_time_breaks_its_folder_alone(
    tmp_path: Path, schema: Any, words: str
) -> None:
    for name, document in (("slow", schema), ("fine", {"properties": {"a": {"pattern": "x|z"}}})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "s.json").write_text(json.dumps(document))
        (tmp_path / name / "worker.toml").write_text(
            f'id = "{name}"\nname = "N"\ntype = "exec"\ncommand = ["cat"]\nconfig_schema_path = "s.json"\n'
        )

    found = discover([tmp_path])

    assert list(found.workers) == ["fine"]
    assert words in found.broken[str(tmp_path / "slow")]


PLAIN = st.recursive(
    st.sampled_from([{}, {"type": "string"}, {"enum": [1, 2]}, {"minimum": 3}, True, False]),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2)}),
        st.fixed_dictionaries({"items": inner, "not": inner}),
        st.just({"$ref": "#/$defs/x"}),
    ),
    max_leaves=8,
)
ANY = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(PLAIN, PLAIN, st.dictionaries(st.sampled_from("ab"), ANY, max_size=2))
def test_no_check_in_place_takes_more_steps_than_its_cost_allows(
    schema: Any, shared: Any, config: Any
) -> None:
    document = {"$defs": {"x": shared}, "allOf": [schema]}
    cost = schema_cost.cost(document, Draft202012Validator.VALIDATORS)
    if cost is None:
        return
    steps = 0

    class Counting(dict[str, Any]):
        """Counts how often a keyword is applied."""

        def get(self, name: Any, default: Any = None) -> Any:
            nonlocal steps
            steps += 1
            return super().get(name, default)

    counting = extend(Draft202012Validator)
    counting.VALIDATORS = Counting(counting.VALIDATORS)
    list(counting(document).iter_errors(config))
    assert steps <= cost * max(2, len(json.dumps(config)))
