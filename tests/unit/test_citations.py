"""The filter of the citations in an answer of ``rag_agent``, which gets the text in any pieces."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.settings import CHECKOUT


@pytest.fixture
def citations(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the worker."""
    monkeypatch.syspath_prepend(CHECKOUT / "workers" / "rag_agent")
    import citations

    yield citations
    sys.modules.pop("citations", None)


CODE = "`a[9]`{} ``b`[9]``\n```\na[9]\n`\n[9]\n```\n{}!"
NONE = "[0, 9] [2026] [x] [ ] [a](b) \\[4\\] a ["
CASES = {
    "known": ("One [1], two [2][3].", "One [1], two [2][3].", [1, 2, 3]),
    "unknown": ("One [4]. Two [99][2].", "One. Two[2].", [2]),
    "lists": ("One [1, 4; 2] and [2-5].", "One [1][2] and [2][3].", [1, 2, 3]),
    "other_marks": ("One 【2†guide.md】 and [^3] and [^7].", "One [2] and [3] and.", [2, 3]),
    "words": ("A [Passage 1], b [passages 2, 9 and 3], c [Source 7].", "A [1], b [2][3], c.", [1, 2, 3]),
    "and": ("A [1 and 9], b [2 & 3], c [1, and 3].", "A [1], b [2][3], c [1][3].", [1, 2, 3]),
    "other_words": ("A [Chapter 7], [and 9], [passage].", "A [Chapter 7], [and 9], [passage].", []),
    "links": ("One [1](http://x.invalid/a), two [8](b).", "One [1], two.", [1]),
    "no_citations": (NONE, NONE, []),
    "code": (CODE.format(" [9]", "[9]"), CODE.format("", ""), []),
    "backtick": ("It's ` here [1]\nand [9] there", "It's ` here [1]\nand there", []),
    "twice": ("[2] [2] [1]", "[2] [2] [1]", [2, 1]),
    "open": ("end [1", "end [1", []),
}


@pytest.mark.parametrize("name", list(CASES))
def test_only_what_was_given_is_cited_however_the_text_comes(citations: Any, name: str) -> None:
    text, shown, cited = CASES[name]
    chance = random.Random(name)
    for _ in range(50):
        checked, pieces, rest = citations.Citations(3), [], text
        while rest:
            size = chance.randint(1, len(rest))
            pieces.append(checked.add(rest[:size]))
            rest = rest[size:]
        pieces.append(checked.end())
        assert ("".join(pieces), checked.cited) == (shown, cited)


def test_text_is_not_held_back_without_need(citations: Any) -> None:
    checked = citations.Citations(3)
    assert checked.add("Mice [1") == "Mice"
    assert checked.add("] are eaten [and so on") == " [1] are eaten [and so on"
    assert checked.add(" [" + "1, " * 150).startswith(" [1, 1")


def test_all_numbers_of_an_earlier_answer_can_be_taken_out(citations: Any) -> None:
    assert citations.without_citations("Mice [1], cheese [2, 3].") == "Mice, cheese."
