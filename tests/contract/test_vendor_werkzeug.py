"""The internals of werkzeug that :mod:`web.http.rules` uses are what they were when it was written.

A failure here after an upgrade names what has changed; the module, and the bound in
setup.cfg, are the two places to mend.
"""

from __future__ import annotations

import inspect

import pytest
import werkzeug.routing
from werkzeug.routing import Map

from web.http.rules import Rule


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """For which rules code was written, in turn."""
    made: list[str] = []
    write = werkzeug.routing.Rule._compile_builder

    def note(rule: werkzeug.routing.Rule, append_unknown: bool = True) -> object:
        made.append(rule.rule)
        return write(rule, append_unknown)

    monkeypatch.setattr(werkzeug.routing.Rule, "_compile_builder", note)
    return made


def test_the_code_that_builds_a_url_is_written_by_one_method() -> None:
    compiled = inspect.getsource(werkzeug.routing.Rule.compile)

    for wanted in ("False", "True"):
        assert compiled.count(f"self._compile_builder({wanted}).__get__(self, None)") == 1


def test_code_is_written_once_and_only_for_the_rules_of_which_a_url_is_built(made: list[str]) -> None:
    rules = Map([Rule("/a/<one>", endpoint="a"), Rule("/b/<two>", endpoint="b")]).bind("localhost")

    assert rules.match("/a/x") == ("a", {"one": "x"})
    assert made == []
    assert [rules.build("b", {"two": value}) for value in ("y", "z")] == ["/b/y", "/b/z"]
    assert made == ["/b/<two>"]


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ("/", {}),
        ("/a/<one>", {"one": "ä/%?"}),
        ("/a/<int:one>/b/<path:two>", {"one": 7, "two": "x/y"}),
        ("/a/<one>", {"one": "x", "unknown": "1 2"}),
    ],
)
def test_a_url_is_the_one_that_werkzeug_builds(rule: str, values: dict[str, object]) -> None:
    built = [Map([kind(rule, endpoint="a")]).bind("localhost").build("a", values) for kind in KINDS]

    assert built[0] == built[1]


KINDS = (werkzeug.routing.Rule, Rule)
