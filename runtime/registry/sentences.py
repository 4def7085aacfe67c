"""What is wrong with a value, in words for somebody who has never seen the schema that says so.

The messages of jsonschema repeat the value and what the schema says of it: a regular
expression, or a whole schema. People read these at the fields of a form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jsonschema import ValidationError


def sentence(error: ValidationError) -> str:
    """What is wrong, said of the value: its subject is left out."""
    words = _WORDS.get(str(error.validator))
    text = words(error) if words else error.message
    if "propertyNames" in error.absolute_schema_path:
        return f"has the name {error.instance!r}, which {text}"
    return text


def _pattern(error: ValidationError) -> str:
    examples = error.schema.get("examples") if isinstance(error.schema, Mapping) else None
    texts = (one for one in examples or () if isinstance(one, str))
    example = next(texts, None)
    return "does not have the expected form" if example is None else f"must look like this: {example}"


def _additional_properties(error: ValidationError) -> str:
    # Its words for a schema without patterns name the properties; the others have the patterns.
    if not error.schema.get("patternProperties"):  # type: ignore[union-attr]
        return error.message
    return "has names that are not allowed"


_WORDS: dict[str, Callable[[ValidationError], str]] = {
    "pattern": _pattern,
    "additionalProperties": _additional_properties,
    "format": lambda error: f"is not a valid {error.validator_value}",
    "not": lambda _: "has a value that is not allowed",
    "anyOf": lambda _: "has none of the expected forms",
    "oneOf": lambda error: (
        "has none of the expected forms"
        if error.context
        else "has more than one of the expected forms, and may have one only"
    ),
    "contains": lambda _: "has no item of the expected form",
    "uniqueItems": lambda _: "has the same item more than once",
    # By the schema ``false``, of which jsonschema does not say where it stands.
    "None": lambda error: f"has a value that is not allowed: {error.instance!r}",
}
