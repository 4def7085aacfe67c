"""What of a text is searched: its words, folded, so that both databases and all collations find the same.

Where a text is written without spaces (Chinese, Japanese), each character is a word.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from runtime.store.folding import Mark, fold

MOST = 32
"""Words of a query that are looked for."""
STEM, _ENDING = 3, 3
"""Words of at least so many letters in common that differ in at most so many last ones are marked alike."""
_SPACELESS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SPACELESS}]|(?:(?![{_SPACELESS}])[^\W_])+")


def searched(*texts: str) -> str:
    """The words of texts, folded, with a space between them."""
    return " ".join(word for text in texts for word in _WORD.findall(fold(text)))


def asked(query: str) -> list[str]:
    """The words of a query, folded, each once. Empty where it has none, only signs."""
    return list(dict.fromkeys(_WORD.findall(fold(query))))[:MOST]


def marks(text: str, wanted: Sequence[str]) -> list[Mark]:
    """Where ``text`` has these words, also with another ending."""
    by_start: dict[str, list[str]] = defaultdict(list)
    for word in wanted:
        by_start[word[:STEM]].append(word)
    found = ((match, fold(match.group())) for match in _WORD.finditer(text))
    return [
        match.span()
        for match, word in found
        if any(is_alike(word, one) for one in by_start.get(word[:STEM], ()))
    ]


def is_alike(word: str, wanted: str) -> bool:
    """Whether two folded words are the same but for their endings."""
    if word == wanted:
        return True
    common = next(
        (at for at, (a, b) in enumerate(zip(word, wanted, strict=False)) if a != b),
        None,
    )
    common = min(len(word), len(wanted)) if common is None else common
    return common >= STEM and common >= max(len(word), len(wanted)) - _ENDING
