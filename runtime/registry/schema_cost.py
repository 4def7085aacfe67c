"""What it costs to check a value against a JSON Schema, as far as that can be told from the schema.

A schema whose keywords are all plain looks at each part of a value at most once for each
of its own parts. So the product of the two sizes bounds its cost. With most patterns, formats,
``uniqueItems``, ``unevaluatedProperties`` or recursion there is no such bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import orjson

from runtime.model import Json

_VALUES = {
    "type", "enum", "const", "required", "dependentRequired",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
    "minContains", "maxContains",
}  # fmt: skip
"""Keywords that hold no schema."""
_SCHEMAS = {
    "properties", "additionalProperties", "propertyNames", "dependentSchemas", "dependencies",
    "items", "prefixItems", "additionalItems", "contains",
    "allOf", "anyOf", "oneOf", "not", "if", "then", "else",
}  # fmt: skip
"""Keywords that hold a schema, a list of schemas, or an object of them."""
_OBJECTS = {"properties", "dependentSchemas", "dependencies"}
_QUOTED = {"enum", "const", "not", "oneOf", "pattern"}
"""Keywords whose value stands in the text of an error."""
_QUOTED_BYTES = 32
"""Bytes that can be quoted at the cost of one part of a schema."""
_NOT_APPLIED = {"$schema", "$defs", "definitions", "$comment"}
_CHARACTER = r"""(?:[A-Za-z0-9_ :/@%=~,;'"<>!-]|\\[dDwWsS.+*?^$|/(){}\[\]\\-])"""
_ANY_OF = rf"(?:\.|{_CHARACTER}|\[\^?(?:{_CHARACTER}|[.+*?()])+\])"
_REPEATED = rf"{_ANY_OF}(?:[*+]|\{{\d{{1,4}}(?:,\d{{0,4}})?\}})"
_PLAIN_PATTERN = re.compile(rf"\^(?:{_ANY_OF}\??)*?(?:{_REPEATED})?(?:{_ANY_OF})*\$?")
"""From the beginning of a text on, character by character, one of which may be repeated.

A text is gone through once for it, or once more for each character that may be missing.
"""
_MOST_MISSING = 2
_LONGEST_PATTERN = 100
_MOST = 10**6
"""A cost beyond which a schema does not count as plain."""
_MOST_CONTAINERS = 16
"""Arrays and objects in an array of a schema that are compared with each other quickly."""
_QUICK_BYTES = 16 * 1024


class _NotPlain(Exception):
    """The cost cannot be told."""


def cost(document: Mapping[str, Json], known: Iterable[str]) -> int | None:
    """The number of parts of ``document`` that apply to a part of a value; None: there is no bound.

    ``known``: the keywords that the validator applies; all others are annotations.
    """
    try:
        return _Measure(document, frozenset(known)).of(document, at_root=True)
    except (_NotPlain, RecursionError):
        return None


def is_quickly_validated(document: Mapping[str, Json], size: int, known: Iterable[str]) -> bool:
    """Whether the check of the schema itself is quick. ``size``: its bytes as JSON.

    The schema of schemas has ``uniqueItems`` and formats, and patterns are compiled.
    """
    return size <= _QUICK_BYTES and cost(document, known) is not None and not _has_long_lists(document)


class _Measure:
    """Measures one document; the targets of its references once each."""

    def __init__(self, document: Mapping[str, Json], known: frozenset[str]) -> None:
        self._document = document
        self._known = known
        self._targets: dict[str, int | None] = {"#": None}
        """What a reference costs; None: it is being measured, so that another one to it is recursion."""

    def of(self, schema: Any, at_root: bool = False) -> int:
        """The cost of one schema. Raises _NotPlain."""
        if not isinstance(schema, Mapping):
            return 1
        if not at_root and ("$id" in schema or "id" in schema):
            raise _NotPlain  # references below are relative to it
        total = 1 + sum(self._of_keyword(keyword, value) for keyword, value in schema.items())
        if total > _MOST:
            raise _NotPlain
        return total

    def _of_keyword(self, keyword: str, value: Any) -> int:
        quoted = len(orjson.dumps(value)) // _QUOTED_BYTES if keyword in _QUOTED else 0
        if keyword in _SCHEMAS:
            return quoted + sum(map(self.of, _parts(value, keyword in _OBJECTS)))
        if keyword in _VALUES:
            if keyword == "type" and isinstance(value, list) and any(isinstance(one, dict) for one in value):
                raise _NotPlain  # schemas, in draft 3
            return 1 + quoted + (len(value) if isinstance(value, list | dict) else 0)
        if keyword == "pattern" and _is_plain(value):
            return 1 + quoted
        if keyword == "$ref":
            return self._of_reference(value)
        if keyword in self._known and keyword not in _NOT_APPLIED:
            raise _NotPlain
        return 0

    def _of_reference(self, reference: Any) -> int:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _NotPlain
        if reference not in self._targets:
            self._targets[reference] = None
            self._targets[reference] = self.of(self._target(reference))
        known = self._targets[reference]
        if known is None:
            raise _NotPlain
        return known

    def _target(self, reference: str) -> Any:
        """What a JSON pointer (RFC 6901) in a fragment leads to."""
        node: Any = self._document
        for part in unquote(reference[1:]).split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, Mapping) and name in node:
                node = node[name]
            elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
                node = node[int(name)]
            else:
                raise _NotPlain
        return node


def _is_plain(pattern: Any) -> bool:
    """Whether a regular expression is quickly compiled, and goes through no text again and again."""
    return (
        isinstance(pattern, str)
        and len(pattern) <= _LONGEST_PATTERN
        and pattern.count("?") <= _MOST_MISSING
        and _PLAIN_PATTERN.fullmatch(pattern) is not None
    )


def _parts(value: Any, named: bool) -> Iterable[Any]:
    """The schemas that a keyword holds."""
    if isinstance(value, list):
        return value
    return value.values() if named and isinstance(value, Mapping) else [value]


def _has_long_lists(node: Any) -> bool:
    if isinstance(node, Mapping):
        return any(map(_has_long_lists, node.values()))
    if isinstance(node, list):
        containers = sum(isinstance(one, Mapping | list) for one in node)
        return containers > _MOST_CONTAINERS or any(map(_has_long_lists, node))
    return False
