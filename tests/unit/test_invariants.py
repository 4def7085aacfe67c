"""The page of invariants names tests that there are."""

from __future__ import annotations

import re

import pytest

from runtime.settings import CHECKOUT

_ROW = re.compile(r"^\| (INV-[A-Z]+-\d{3}) \| (.+) \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")

ROWS = _ROW.findall((CHECKOUT / "docs/invariants.md").read_text())


def test_the_page_has_each_invariant_once_and_in_order() -> None:
    names = [name for name, _, _ in ROWS]
    assert names == sorted(set(names))
    assert len(names) >= 14


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_an_invariant_is_held_by_tests_that_there_are(row: tuple[str, str, str]) -> None:
    named = _TEST.findall(row[2])
    assert named
    assert _TEST.sub("", row[2]).strip(" ,") == "", "only tests are named there"
    missing = [
        test
        for file, test in named
        if not (CHECKOUT / file).exists()
        or not re.search(rf"^\s*(async )?def {test}\(", (CHECKOUT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []
