"""Splitting: passages are whole sentences of one section, and nothing is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.knowledge import words
from runtime.knowledge.reading import examine
from runtime.knowledge.splitting import OVERLAP, SIZE, Section, passages


def test_two_passages_share_the_sentences_at_their_border() -> None:
    sentences = [f"This is sentence number {number} of a long section. " for number in range(60)]
    parts = [part.text for part in passages([Section(("Long",), "".join(sentences))])]

    assert len(parts) > 2
    for before, after in pairwise(parts):
        first = after[: after.index(".") + 1]
        assert first in before
        assert len(before) - before.index(first) <= OVERLAP
    assert all(part.endswith(".") and part.startswith("This") for part in parts)


@given(st.text(alphabet=st.sampled_from("ab .!?\n-#1\u3002"), max_size=4000))
def test_no_word_is_lost_and_no_passage_is_too_long(text: str) -> None:
    parts = [part.text for part in passages([Section((), text)])]

    assert all(0 < len(part) <= SIZE for part in parts)
    assert set("".join(text.split())) == set("".join("".join(parts).split()))
    assert sum(part.count("a") for part in parts) >= text.count("a")


@given(st.text(max_size=3000), st.sampled_from(["markdown", "html", "text"]))
def test_any_text_can_be_read(text: str, kind: str) -> None:
    said = examine({"kind": kind, "text": text})

    assert all(0 < len(one["text"]) <= SIZE for one in said["passages"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A\nx\n## B\ny\n# C\nz", [(["A"], "x"), (["A", "B"], "y"), (["C"], "z")]),
        ("A\n===\nx\n\nB\n---\ny", [(["A"], "x"), (["A", "B"], "y")]),
        ("# A #\n```\n# no heading\n```\n", [(["A"], "```\n# no heading\n```")]),
        ("# A\n## B\n", [(["A"], "B")]),
        ("### C\nx\n# A\ny", [(["C"], "x"), (["A"], "y")]),
        ("#no heading", [([], "#no heading")]),
        ("---\ntitle: x\n---\ny", [([], "---\ntitle: x\n---\ny")]),
        ("", []),
    ],
    ids=[
        "levels",
        "underlined",
        "fence",
        "empty",
        "skipped",
        "tag",
        "front matter",
        "nothing",
    ],
)
def test_markdown_is_split_at_its_headings(text: str, expected: list[tuple[list[str], str]]) -> None:
    said = examine({"kind": "markdown", "text": text})

    assert [(list(one["titles"]), one["text"]) for one in said["passages"]] == expected


def test_words_are_folded_and_those_without_spaces_are_characters() -> None:
    assert words.searched("Crème_brûlée, STRASSE/Straße 3.14") == "creme brulee strasse strasse 3 14"
    assert words.asked("東京 Tower tower") == ["東", "京", "tower"]
    assert words.asked('"*()') == []
