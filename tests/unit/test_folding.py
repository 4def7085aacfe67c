"""What a search takes for the same, and where it shows what it has found."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from runtime.store.folding import fold, marks, stored, terms
from runtime.store.search import SNIPPET, snippet_of

EVERY_CHARACTER = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("cafe", "CAFÉ"),
        ("istanbul", "İSTANBUL"),
        ("ISPARTA", "ısparta"),
        ("strasse", "Straße"),
        ("Lodz", "Łódź"),
        ("ОДИССЕЙ", "одиссеи"),
        ("οδυσσευς", "ὈΔΥΣΣΕΎΣ"),
        ("abc", "ＡＢＣ"),
        ("file", "ﬁle"),
        ("שלום", "שָׁלוֹם"),
        ("don't", "Don’t"),
        ("donaudampf", "Donau\u00addampf"),
    ],
)
def test_what_people_take_for_the_same_is_the_same(typed: str, text: str) -> None:
    assert fold(typed) == fold(text)


def test_marks_that_are_as_good_as_letters_stay() -> None:
    assert fold("が") != fold("か")
    assert fold("กิ") != fold("ก")


def test_every_character_folds_alike_composed_and_decomposed_and_only_once() -> None:
    for character in EVERY_CHARACTER:
        folded = fold(character)
        assert folded == fold(unicodedata.normalize("NFD", character)), hex(ord(character))
        assert folded == fold(folded), hex(ord(character))
        assert len(folded) <= 4


def test_what_is_ascii_is_not_stored_twice() -> None:
    assert stored("Oak") is None
    assert stored(None) is None
    assert stored("Bäume") == "baume"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("oak elm", ["oak", "elm"]),
        ('"an  old oak" elm', ["an old oak", "elm"]),
        ("„alte Bäume“", ["alte Bäume"]),
        ('"an old', ["old", "an"]),
        ("oak OAKS oa", ["OAKS"]),
        ('"', ['"']),
        ("5'11\"", ["5'11"]),
        (" ", [" "]),
    ],
)
def test_a_query_is_words_and_phrases(query: str, found: list[str]) -> None:
    assert sorted(terms(query)) == sorted(found)


def test_what_was_found_is_marked_where_it_is_in_the_text_itself() -> None:
    text = "Die Straße zum Café, ﬁnally"

    shown = [text[start:end] for start, end in marks(text, ["strasse", "cafe", "fin"])]
    assert shown == ["Straße", "Café", "ﬁn"]
    assert marks("oaks", ["oa", "ak"]) == [(0, 3)]
    assert marks("elm", ["oak"]) == []


def test_a_snippet_is_one_line_around_what_was_found() -> None:
    text = "word " * 500 + "the old\n  OAK stands " + "word " * 500

    snippet, found = snippet_of(text, ["old oak"])

    assert [snippet[start:end] for start, end in found] == ["old OAK"]
    assert snippet.startswith("…word ")
    assert snippet.endswith(" word…")
    assert "\n" not in snippet
    assert len(snippet) <= SNIPPET + 2


def test_a_snippet_of_a_short_text_is_all_of_it() -> None:
    assert snippet_of("An oak.", ["oak"]) == ("An oak.", [(3, 6)])
    assert snippet_of("", ["oak"]) == ("", [])


def test_a_snippet_without_spaces_is_cut_anywhere() -> None:
    snippet, found = snippet_of("語" * 1000 + "東京" + "語" * 1000, ["東京"])

    assert [snippet[start:end] for start, end in found] == ["東京"]
    assert len(snippet) == SNIPPET + 2
