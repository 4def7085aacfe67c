"""Defaults: what a config lacks and its schema has a ``default`` for is filled in.

Through ``$ref`` and ``allOf``, in objects and in the items of lists, and in the branch of
``if``, ``oneOf`` and ``anyOf`` that applies. What is in a config stays; that of a schema
that comes first wins. Where several branches of ``oneOf`` or ``anyOf`` could apply, none
is filled in: which one is meant, a config has to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import orjson
from referencing.exceptions import Unresolvable

from runtime.errors import LimitExceeded
from runtime.model import Json

_Followed = frozenset[str]
"""The references that were followed since the last value that was given, and not filled in: each of
them once, for a default may contain itself."""


class Defaults:
    """Fills in the defaults of one schema."""

    def __init__(self, validator: Any, resolver: Any, most: int) -> None:
        """``validator``: of the whole schema; ``resolver``: of its references; ``most``: bytes to fill in."""
        self._validator = validator
        self._resolver = resolver
        self._left = most

    def fill(self, value: Json) -> Json:
        """A copy of ``value`` with the defaults.

        Raises LimitExceeded where they are too large, RecursionError where they are too deep.
        """
        copy = deepcopy(value)
        self._fill(self._validator.schema, copy, frozenset())
        return copy

    def _fill(self, schema: Any, value: Json, followed: _Followed) -> None:
        if not isinstance(schema, Mapping) or not isinstance(value, dict | list):
            return
        if isinstance(value, dict):
            self._fill_properties(schema, value, followed)
        else:
            self._fill_items(schema, value)
        for part, known in self._parts(schema, followed):
            self._fill(part, value, known)
        if "if" in schema and "if" in self._validator.VALIDATORS:  # not before draft 7
            self._fill(schema.get("then" if self._fits(schema["if"], value) else "else"), value, followed)
        for keyword in ("oneOf", "anyOf"):
            if isinstance(branches := schema.get(keyword), list):
                self._fill_branch(branches, value, followed)

    def _fill_properties(
        self, schema: Mapping[str, Any], value: dict[str, Json], followed: _Followed
    ) -> None:
        properties = schema.get("properties")
        named = properties if isinstance(properties, Mapping) else {}
        for name, inner in named.items():
            if name in value:
                self._fill(inner, value[name], frozenset())
                continue
            for found in self._defaults(inner, followed):
                value[name] = self._copied(found)
                self._fill(inner, value[name], followed)
                break
        if "patternProperties" not in schema:
            for name in value.keys() - named.keys():
                self._fill(schema.get("additionalProperties"), value[name], frozenset())

    def _fill_items(self, schema: Mapping[str, Any], value: list[Json]) -> None:
        first, rest = schema.get("prefixItems", []), schema.get("items")
        if isinstance(rest, list):  # before 2020-12
            first, rest = rest, schema.get("additionalItems")
        for number, item in enumerate(value):
            self._fill(first[number] if number < len(first) else rest, item, frozenset())

    def _fill_branch(self, branches: list[Any], value: Any, followed: _Followed) -> None:
        """Fill in the only branch that applies, or would with its defaults."""
        applying = [branch for branch in branches if self._fits(branch, value)]
        if applying:
            if len(applying) == 1:
                self._fill(applying[0], value, followed)
            return
        tried = []
        for branch in branches:
            filled = deepcopy(value)
            self._fill(branch, filled, followed)
            if self._fits(branch, filled):
                tried.append(filled)
        if len(tried) == 1:
            if isinstance(value, dict):
                value.update(tried[0])
            else:
                value[:] = tried[0]

    def _parts(self, schema: Mapping[str, Any], followed: _Followed) -> Iterator[tuple[Any, _Followed]]:
        """The schemas that apply with this one, and the references that lead to each."""
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference not in followed:
            try:
                yield self._resolver.lookup(reference).contents, followed | {reference}
            except Unresolvable:  # relative to an $id further down: the check follows it
                pass
        parts = schema.get("allOf")
        for part in parts if isinstance(parts, list) else ():
            yield part, followed

    def _defaults(self, schema: Any, followed: _Followed) -> Iterator[Json]:
        """The defaults of a schema and of those that apply with it, its own first."""
        if isinstance(schema, Mapping):
            if "default" in schema:
                yield schema["default"]
            for part, known in self._parts(schema, followed):
                yield from self._defaults(part, known)

    def _fits(self, schema: Any, value: Json) -> bool:
        try:
            return bool(self._validator.evolve(schema=schema).is_valid(value))
        except Unresolvable:
            return False

    def _copied(self, default: Json) -> Json:
        self._left -= len(orjson.dumps(default))
        if self._left < 0:
            raise LimitExceeded("the defaults are too large")
        return deepcopy(default)
