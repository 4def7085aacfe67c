"""What a person may do with the knowledge base of a workspace."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass

from runtime.errors import EmbeddingsUnavailable, FieldError, Invalid, SearchTooLong, TooManyVectors
from runtime.knowledge import reading, store
from runtime.knowledge.meaning import Meaning, Near
from runtime.knowledge.model import Answer, Document, Kind, Project, Vectors
from runtime.knowledge.store import NewDocument
from runtime.model import Run, User
from runtime.store import Database

log = logging.getLogger(__name__)

LONGEST_NAME = 500
"""Characters that the name of a document may have."""
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, and those that turn the direction of writing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, with what finds passages by its meaning if that is to be had."""

    query: str
    vectors: Vectors
    near: Near | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A document as it was sent."""

    name: str
    """What it is called in its source."""
    content: bytes
    kind: Kind | None = None
    """What it is to be read as; None: what its name and its content say."""
    digest: str | None = None
    """SHA-256 of the file that its content was made of; None: of its content."""
    validator: str | None = None
    """By which its origin will be asked whether it has changed."""


class Knowledge:
    """The knowledge base of an installation."""

    def __init__(self, database: Database, meaning: Meaning | None = None) -> None:
        """``meaning``: what finds passages by what they mean, if an endpoint is configured."""
        self._database = database
        self._meaning = meaning

    @property
    def model(self) -> str | None:
        """Whose vectors passages get; None: they get none."""
        return self._meaning.endpoint.name if self._meaning else None

    def add(self, user: User, source_id: str, sent: Sent) -> tuple[Document, bool]:
        """Add what a user has sent, see :meth:`_add`."""
        return self._add(user.workspace_id, user.id, source_id, sent, None)

    def add_of_run(
        self, run: Run, project: Project | None, source_name: str, sent: Sent
    ) -> tuple[Document, bool]:
        """Add what a run has sent to a source that its project sees, see :meth:`_add`.

        Raises StaleAttempt where it does not run any more.
        """
        source_id = self._database.read(store.source_named, run.workspace_id, source_name, project)
        return self._add(run.workspace_id, run.user_id, source_id, sent, run)

    def find_for_run(self, run: Run, project: Project | None, source_name: str, name: str) -> Document | None:
        """The document of that name, if the source has one that its project sees. Raises NotFound."""
        source_id = self._database.read(store.source_named, run.workspace_id, source_name, project)
        return self._database.read(store.find_document, run.workspace_id, source_id, _checked(name))

    def _add(
        self, workspace_id: str, user_id: str, source_id: str, sent: Sent, run: Run | None
    ) -> tuple[Document, bool]:
        """Add a document to a source, or replace the one of its name; whether anything has changed.

        One whose content is the same as before is not read again; a new validator of it is kept. Raises
        NotFound, Conflict, Invalid where it cannot be read, and what :func:`reading.read` raises.
        """
        name, digest = _checked(sent.name), sent.digest or hashlib.sha256(sent.content).hexdigest()
        before = self._database.read(store.find_document, workspace_id, source_id, name)
        if before is not None and before.digest == digest:
            if sent.validator in (None, before.validator):
                return before, False
            kept = self._database.write(store.put_validator, workspace_id, before, sent.validator, run)
            if kept is not None:
                return kept, False
        kind, title, passages = reading.read(sent.content, name, user_id, sent.kind)
        new = NewDocument(name, title, kind, len(sent.content), digest, passages, sent.validator)
        return self._database.write(store.put_document, workspace_id, source_id, new, run, self.model), True

    def remove_source(self, user: User, source_id: str) -> None:
        """Remove a source with all its documents, some at a time. Raises NotFound.

        If this process dies meanwhile, the rest is there still, and can be removed again.
        """
        while not self._database.write(store.remove_some, user.workspace_id, source_id):
            pass

    def ask(self, query: str) -> Asked:
        """What a search needs that the database does not have: the endpoint is waited for here only."""
        if self._meaning is None:
            return Asked(query, Vectors.NONE)
        try:
            return Asked(query, Vectors.USED, self._meaning.near(query))
        except EmbeddingsUnavailable:
            return Asked(query, Vectors.UNAVAILABLE)

    def search(
        self,
        workspace_id: str,
        asked: Asked,
        k: int,
        source_id: str | None = None,
        source_name: str | None = None,
        project: Project | None = None,
    ) -> Answer:
        """The ``k`` passages that fit best, of all sources of a workspace, of what a project sees, or of one.

        Raises NotFound, and Invalid where it takes too long.
        """
        if source_name is not None:
            source_id = self._database.read(store.source_named, workspace_id, source_name, project)
        vectors, what = asked.vectors, (workspace_id, asked.query, k, source_id, project)
        try:
            try:
                found = self._database.search(store.search, *what, asked.near)
            except TooManyVectors as error:
                log.warning("a search is by words alone: %s", error)
                vectors, found = Vectors.UNAVAILABLE, self._database.search(store.search, *what)
            return Answer(found, vectors)
        except SearchTooLong as error:
            problem = f"took longer than {error.seconds:g} seconds; ask for fewer words, or in one source"
            raise Invalid(f"The search {problem}.", [FieldError(("q",), problem)]) from error


def _checked(name: str) -> str:
    """The name of a document, without what could deceive its reader. Raises Invalid."""
    clean = _NOT_IN_NAMES.sub("", name).strip() or "document"
    if len(clean) > LONGEST_NAME:
        problem = f"has more than {LONGEST_NAME} characters"
        raise Invalid(f"The name of a document {problem}.", [FieldError(("name",), problem)])
    return clean
