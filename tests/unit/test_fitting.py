"""What one schema lets out, and another one takes."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.systems.fitting import mismatches

TEXT, NUMBER = {"type": "string"}, {"type": "number"}


def an(schema: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": schema, "required": list(required), **more}


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ({}, TEXT),
        (TEXT, {}),
        (TEXT, TEXT),
        ({"type": "integer"}, NUMBER),
        ({"enum": ["a", "b"]}, {"enum": ["a", "b", "c"]}),
        ({"const": 1}, NUMBER),
        (an({"a": TEXT}, "a"), an({"a": TEXT}, "a")),
        (an({"a": TEXT}, "a"), an({"b": NUMBER})),
        ({"$ref": "#/$defs/a"}, NUMBER),
        (TEXT, {"anyOf": [NUMBER]}),
        ({"type": "array", "items": TEXT}, {"type": "array", "items": TEXT}),
        (TEXT, an({}, "a", type=["string", "object"])),
    ],
    ids=[
        "anything is sent", "anything is taken", "same", "integer", "fewer values", "one value", "object",
        "others", "reference", "either", "list", "no object is sent",
    ],
)  # fmt: skip
def test_what_fits(sent: dict[str, Any], taken: dict[str, Any]) -> None:
    assert list(mismatches(sent, taken)) == []


@pytest.mark.parametrize(
    ("sent", "taken", "at", "always"),
    [
        (TEXT, NUMBER, (), True),
        ({"type": ["string", "null"]}, TEXT, (), False),
        (NUMBER, {"type": "integer"}, (), True),
        ({"enum": ["a", "z"]}, {"enum": ["a", "b"]}, (), False),
        ({"enum": ["z"]}, {"const": "a"}, (), True),
        ({"enum": [1, 2]}, TEXT, (), True),
        (an({"a": TEXT}), an({}, "a"), ("a",), False),
        (an({"a": TEXT}, additionalProperties=False), an({}, "b"), ("b",), True),
        (an({"a": TEXT}, "a"), an({}, additionalProperties=False), ("a",), True),
        (an({"a": TEXT}), an({}, additionalProperties=False), ("a",), False),
        (an({"a": TEXT}, "a"), an({"a": NUMBER}), ("a",), True),
        (an({"a": TEXT}), an({"a": NUMBER}), ("a",), False),
        (an({"a": TEXT}, type=["object", "null"]), an({"a": NUMBER}, type=["object", "null"]), ("a",), False),
        (
            {"type": "array", "items": TEXT}, {"type": "array", "items": NUMBER}, ("[]",), False,
        ),
    ],
    ids=[
        "type", "one of the types", "fraction", "one of the values", "value", "type of values",
        "may be missing", "is never sent", "is not taken", "may not be taken", "inside", "may be inside",
        "perhaps no object", "list",
    ],
)  # fmt: skip
def test_what_does_not_fit(
    sent: dict[str, Any], taken: dict[str, Any], at: tuple[str, ...], always: bool
) -> None:
    [found] = mismatches(sent, taken)

    assert (found.at, found.always) == (at, always)
