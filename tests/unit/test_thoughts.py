"""The thought before an answer, in whatever pieces the text comes."""

from __future__ import annotations

import pytest

from runtime.sdk.thoughts import LeadingThought


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("Plain.", "", "Plain."),
        ("<think>Hm.</think>\n\nYes.\n", "Hm.", "Yes.\n"),
        ("\n <thinking>a < b</thinking>c", "a < b", "c"),
        ("<think></think>{}", "", "{}"),
        ("<think>No </thin end", "No </thin end", ""),
        ("<think>Nothing.</think> \n", "Nothing.", ""),
        ("  <thin", "", "  <thin"),
        ("What does <think> mean?", "", "What does <think> mean?"),
        ("<think>One.</think>Two. <think>Three.</think>", "One.", "Two. <think>Three.</think>"),
        ("", "", ""),
    ],
    ids=["none", "one", "spaces", "empty", "no end", "no answer", "half", "spoken of", "later", "nothing"],
)  # fmt: skip
def test_a_thought_is_told_from_the_answer(text: str, thought: str, answer: str) -> None:
    check(text, thought, answer)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>Hm.</think> and on", " and on"),
        ("<think>Hm.</think>\nand on", "and on"),
        ("<think>Hm.</think>\n\nand on", "and on"),
        ("<think>Hm.</think>\n \n\n\n  - and on\n", "\n\n  - and on\n"),
        ("<think>Hm.</think>\n\n    and on", "    and on"),
        ("<think>Hm.</think>\n \n", ""),
        ("<think>Hm.</think>\n ", ""),
    ],
    ids=["a word", "a line", "a blank line", "a break", "an indent", "nothing", "half"],
)
def test_where_a_text_is_continued_the_thought_takes_a_blank_line_at_most(text: str, answer: str) -> None:
    check(text, "Hm.", answer, continues=True)


def check(text: str, thought: str, answer: str, *, continues: bool = False) -> None:
    for size in (1, 2, 3, 7, 100):
        leading, thoughts, answers = LeadingThought(continues=continues), list[str](), list[str]()
        for start in range(0, len(text), size):
            one, other = leading.add(text[start : start + size])
            thoughts.append(one)
            answers.append(other)
        one, other = leading.end()
        assert ("".join([*thoughts, one]), "".join([*answers, other])) == (thought, answer), size
