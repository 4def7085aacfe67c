"""Folding: what makes texts equal for a search that people take for the same.

Upper and lower case, accents, composed and decomposed letters, full-width letters and
ligatures make no difference: ``cafe`` finds ``Café``, ``strasse`` finds ``Straße``, ``istanbul``
finds ``İstanbul``. It is done here, and not by the database, so that PostgreSQL and SQLite,
and every collation, find the same.

Folding works character by character on the composed form (NFC), so that each place in a
folded text has one in the text itself: :func:`marks` needs that to show what was found.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

Mark = tuple[int, int]
"""Where something was found in a text: its first character, and the one after its last."""

_WITHOUT_DECOMPOSITION = {
    "ı": "i", "ł": "l", "ø": "o", "đ": "d", "ħ": "h", "æ": "ae", "œ": "oe", "‘": "'", "’": "'",
}  # fmt: skip
"""What Unicode takes for letters of their own, and people type without."""
_LONGEST = 4
"""Characters that one may become. One Arabic ligature would become eighteen."""
_ACCENTS = (
    (0x0300, 0x036F),  # Latin, Greek, Cyrillic
    (0x0591, 0x05C7),  # Hebrew points
    (0x064B, 0x065F),  # Arabic vowels
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0xFE20, 0xFE2F),
)
"""Marks that writing may go without. Those of other scripts are as good as letters, and stay."""
_TERMS = re.compile(r'(?<!\S)["“„«]([^"“”«»]+)["”“»](?!\S)|(\S+)')
_QUOTES = '"“”„«»'


def fold(text: str) -> str:
    """``text`` as it is searched. Nothing visible is lost: no text becomes empty that has letters."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", text).translate(_FOLDED)


def stored(text: str | None) -> str | None:
    """What is stored beside ``text`` to be searched: its folded form, or None where the database
    makes that itself, because ``text`` is ASCII."""
    return None if text is None or text.isascii() else fold(text)


def terms(query: str) -> list[str]:
    """The words of a query, and its phrases in quotation marks, as they were typed.

    One that another contains is left out: it says nothing more. There is always one at least.
    """
    found = [phrase or word.strip(_QUOTES) or word for phrase, word in _TERMS.findall(query)]
    kept: dict[str, str] = {}
    for term in sorted((" ".join(term.split()) for term in found), key=len, reverse=True):
        folded = fold(term)
        if folded and not any(folded in other for other in kept):
            kept[folded] = term
    return list(kept.values()) or [query]


def marks(text: str, folded_terms: Iterable[str]) -> list[Mark]:
    """Where ``text``, which is composed (NFC), has the terms; those that touch are one mark."""
    places: list[int] = []
    parts: list[str] = []
    for place, character in enumerate(text):
        part = character.lower() if character.isascii() else character.translate(_FOLDED)
        parts.append(part)
        places += [place] * len(part)
    folded = "".join(parts)
    found = sorted(
        (places[match.start()], places[match.end() - 1] + 1)
        for term in folded_terms
        if term
        for match in re.finditer(re.escape(term), folded)
    )
    return _merged(found)


def _merged(found: Sequence[Mark]) -> list[Mark]:
    merged: list[Mark] = []
    for start, end in found:
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


class _Folded(dict[int, str]):
    """What each character becomes, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        folded = self[code] = _fold_character(chr(code))
        return folded


def _fold_character(character: str) -> str:
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    plain = "".join(_WITHOUT_DECOMPOSITION.get(c, c) for c in plain if not _is_ignored(c))
    folded = unicodedata.normalize("NFC", plain)
    return folded if len(folded) <= _LONGEST else character


def _is_ignored(character: str) -> bool:
    """Accents, and what is invisible: soft hyphens, joiners, marks of direction."""
    category = unicodedata.category(character)
    return category == "Cf" or (
        category == "Mn" and any(first <= ord(character) <= last for first, last in _ACCENTS)
    )


_FOLDED = _Folded()
