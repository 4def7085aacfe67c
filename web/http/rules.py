"""The rules of the app's routes, in whose place werkzeug's own would be made much more slowly."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import werkzeug.routing

Builder = Callable[..., tuple[str, str]]


class Rule(werkzeug.routing.Rule):
    """A rule that learns how to build its URL when somebody first asks for one.

    werkzeug writes and compiles two functions for each rule: more than a hundred, which is half of
    the time that it takes to make the app. URLs are built of a few rules only.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Builder:
        make = super()._compile_builder

        @cache
        def builder() -> Builder:
            return make(append_unknown)

        def build(rule: Rule, **values: Any) -> tuple[str, str]:
            return builder()(rule, **values)

        return build
