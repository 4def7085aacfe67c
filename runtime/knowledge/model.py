"""What a source, a document and a passage are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from runtime.model import Json, Run, encode_time


class Language(StrEnum):
    """The language of a source, whose endings a search on PostgreSQL leaves out of account.

    They are those that every server has. ``simple`` leaves words as they are.
    """

    SIMPLE = "simple"
    DANISH = "danish"
    DUTCH = "dutch"
    ENGLISH = "english"
    FINNISH = "finnish"
    FRENCH = "french"
    GERMAN = "german"
    HUNGARIAN = "hungarian"
    ITALIAN = "italian"
    NORWEGIAN = "norwegian"
    PORTUGUESE = "portuguese"
    ROMANIAN = "romanian"
    RUSSIAN = "russian"
    SPANISH = "spanish"
    SWEDISH = "swedish"
    TURKISH = "turkish"


@dataclass(frozen=True, slots=True)
class Project:
    """Whose sources a search sees: those with this label, and those without one."""

    id: str | None
    """None: only those without one."""


class Vectors(StrEnum):
    """Whether a search has found passages by what they mean, too."""

    NONE = "none"
    """No embeddings endpoint is configured."""
    USED = "used"
    UNAVAILABLE = "unavailable"
    """The endpoint has not answered in time, or there are too many vectors: it was by words alone."""


class Kind(StrEnum):
    """What a document is read as."""

    MARKDOWN = "markdown"
    HTML = "html"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Source:
    """Documents that belong together, such as those of one folder."""

    id: str
    workspace_id: str
    name: str
    """Unique in its workspace."""
    language: Language
    project_id: str | None
    """A label of the client's own: a search of one project leaves out the sources of others."""
    created_at: datetime
    updated_at: datetime
    """When a document was added or replaced last; when it was made, if it has none."""
    documents: int
    passages: int
    embedded: int | None
    """How many of the passages have a vector; None where they get none."""

    def encode(self) -> dict[str, Json]:
        """The source as the API shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "language": self.language,
            "project_id": self.project_id,
            "documents": self.documents,
            "passages": self.passages,
            "embedded": self.embedded,
            "created_at": encode_time(self.created_at),
            "updated_at": encode_time(self.updated_at),
        }


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a source."""

    id: str
    source_id: str
    name: str
    """Unique in its source, such as the path of a file."""
    title: str | None
    kind: Kind
    size: int
    """Bytes of the file."""
    digest: str
    """SHA-256 of the file, as it was before a run made this kind of it."""
    validator: str | None
    """By which a run asks its origin whether it has changed, such as the ETag of a page."""
    passages: int
    created_at: datetime
    updated_at: datetime

    def encode(self) -> dict[str, Json]:
        """The document as the API shows it."""
        return {
            "id": self.id,
            "source_id": self.source_id,
            "name": self.name,
            "title": self.title,
            "kind": self.kind,
            "size": self.size,
            "digest": self.digest,
            "validator": self.validator,
            "passages": self.passages,
            "created_at": encode_time(self.created_at),
            "updated_at": encode_time(self.updated_at),
        }


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document, as it is stored."""

    titles: Sequence[str]
    """The headings above it, the outermost first."""
    text: str
    words: str
    """What of it is searched, see :mod:`runtime.knowledge.words`."""

    @classmethod
    def decode(cls, said: Mapping[str, Any]) -> Passage:
        """One that :func:`reading.read` has answered."""
        return cls(said["titles"], said["text"], said["words"])


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search has found."""

    passages: Sequence[Found]
    vectors: Vectors

    def encode(self) -> dict[str, Json]:
        """The answer as the API shows it."""
        return {"items": [one.encode() for one in self.passages], "vectors": self.vectors}


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that a search has found."""

    source_id: str
    source: str
    document_id: str
    document: str
    titles: Sequence[str]
    position: int
    text: str
    marks: Sequence[tuple[int, int]]
    """Where the text has words of the query; characters, the first and the one after the last."""
    score: float
    """How well it fits; to be compared within one answer only."""

    def encode(self) -> dict[str, Json]:
        """The passage as the API shows it."""
        return {
            "source_id": self.source_id,
            "source": self.source,
            "document_id": self.document_id,
            "document": self.document,
            "titles": list(self.titles),
            "position": self.position,
            "text": self.text,
            "marks": [list(mark) for mark in self.marks],
            "score": self.score,
        }


@dataclass(frozen=True, slots=True)
class NotAdded:
    """A document that an ingestion could not add."""

    name: str
    problem: str
    """Why, as a sentence without its end."""
    url: str | None
    """Of a web page."""
    file_id: str | None
    """The uploaded file that it is, or in which it is."""

    @classmethod
    def decode(cls, said: Any) -> NotAdded | None:
        """One that a worker has told; None where it has told something else."""
        if not isinstance(said, Mapping):
            return None
        fields = [said.get(name) for name in ("name", "problem", "url", "file")]
        name, problem, url, file_id = (one if isinstance(one, str) else None for one in fields)
        return None if name is None or problem is None else cls(name, problem, url, file_id)

    def encode(self) -> dict[str, Json]:
        """The document as the API shows it."""
        return {"name": self.name, "problem": self.problem, "url": self.url, "file": self.file_id}


@dataclass(frozen=True, slots=True)
class Ingestion:
    """A run that adds documents to a source, and what has become of these."""

    run: Run
    counts: Mapping[str, int | None]
    """How many were ``added``, ``unchanged`` and ``failed``; None before the run has told it."""
    problems: Sequence[NotAdded]
    """Those that failed, or the first of them."""

    @classmethod
    def of(cls, run: Run, told: Mapping[str, Any]) -> Ingestion:
        """``told``: the data of what the run said at its end."""
        given = told.get("counts")
        counts = given if isinstance(given, Mapping) else {}
        numbers = {name: counts.get(name) for name in ("added", "unchanged", "failed")}
        failed = told.get("failed")
        problems = map(NotAdded.decode, failed if isinstance(failed, list) else ())
        return cls(
            run,
            {name: number if type(number) is int else None for name, number in numbers.items()},
            [one for one in problems if one is not None],
        )

    def encode(self) -> dict[str, Json]:
        """The ingestion as the API shows it."""
        return {
            "run": self.run.encode(),
            **self.counts,
            "problems": [one.encode() for one in self.problems],
        }
