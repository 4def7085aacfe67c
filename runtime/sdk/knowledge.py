"""The knowledge base: what a run finds in the documents of its user, and what it adds to them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from .requests import fetch, has_server

Json = Any


class Passage:
    """A piece of a document that fits what was searched."""

    def __init__(self, fields: Mapping[str, Json]) -> None:
        self.text = str(fields.get("text") or "")
        self.titles = [str(title) for title in fields.get("titles") or ()]
        """The headings above it, the outermost first."""
        self.source = str(fields.get("source") or "")
        """The name of its source."""
        self.document = str(fields.get("document") or "")
        """The name of its document."""
        self.position = int(fields.get("position") or 0)
        """Among the passages of its document, from 0."""
        self.source_id: str | None = fields.get("source_id")
        self.document_id: str | None = fields.get("document_id")
        self.score = float(fields.get("score") or 0)
        """The greater, the better it fits; to be compared in one answer only."""
        self.digest: str | None = fields.get("digest")
        self.validator: str | None = fields.get("validator")
        """Both of its document, where it is one of a test."""

    def __repr__(self) -> str:
        return f"Passage({self.document!r}, {self.position})"


class Document:
    """A document of the knowledge base."""

    def __init__(self, fields: Mapping[str, Json]) -> None:
        self.name = str(fields.get("name") or "")
        """What it is called in its source."""
        self.digest = str(fields.get("digest") or "")
        """SHA-256 in hexadecimal digits: of the file that it was made of, or of its own content."""
        self.validator: str | None = fields.get("validator")
        """What it was added with."""

    def __repr__(self) -> str:
        return f"Document({self.name!r})"


def add(
    source: str,
    name: str,
    content: bytes | str,
    local: list[Passage],
    kind: str | None = None,
    digest: str | None = None,
    validator: str | None = None,
) -> bool:
    """Add a document; whether it was not there as it is already.

    ``local``: where it is kept, as one passage, where there is no server. Raises Failure.
    """
    body = content.encode() if isinstance(content, str) else content
    if not has_server():
        text = body.decode("utf-8", "replace")
        known = {"digest": digest or hashlib.sha256(body).hexdigest(), "validator": validator}
        return _add(source, name, text, local, known)
    given = {"source": source, "name": name, "kind": kind, "digest": digest, "validator": validator}
    asked = urlencode({key: value for key, value in given.items() if value is not None})
    headers = {"Content-Type": "application/octet-stream"}
    return bool(json.loads(fetch(f"documents?{asked}", body, headers))["changed"])


def _add(source: str, name: str, text: str, local: list[Passage], known: Mapping[str, Json]) -> bool:
    """For tests."""
    same = _named(source, name, local)
    if [one.digest for one in same] == [known["digest"]]:
        same[0].validator = known["validator"] or same[0].validator
        return False
    local[:] = [one for one in local if one not in same]
    local.append(Passage({"source": source, "document": name, "text": text, **known}))
    return True


def find(source: str, name: str, local: Iterable[Passage]) -> Document | None:
    """The document of that name, if the source has one. ``local`` as in :func:`add`. Raises Failure."""
    if not has_server():
        there = _named(source, name, local)
        fields = [{"name": name, "digest": one.digest, "validator": one.validator} for one in there]
        return Document(fields[0]) if fields else None
    found = json.loads(fetch(f"documents?{urlencode({'source': source, 'name': name})}"))["document"]
    return Document(found) if found else None


def _named(source: str, name: str, local: Iterable[Passage]) -> list[Passage]:
    return [one for one in local if (one.source, one.document) == (source, name)]


def search(query: str, k: int, source: str | None, local: Iterable[Passage]) -> list[Passage]:
    """The ``k`` passages that fit best. ``local``: among which to look where there is no server.

    Raises Failure.
    """
    if not has_server():
        return _found(query, k, source, local)
    asked = {"q": query, "k": k, **({"source": source} if source is not None else {})}
    return [Passage(fields) for fields in json.loads(fetch(f"search?{urlencode(asked)}"))["items"]]


def _found(query: str, k: int, source: str | None, local: Iterable[Passage]) -> list[Passage]:
    """Those that have most words of the query; for tests."""
    wanted = _words(query)
    counted = [
        (len(wanted & _words(" ".join((*one.titles, one.text)))), one)
        for one in local
        if source in (None, one.source)
    ]
    fitting = sorted((pair for pair in counted if pair[0]), key=lambda pair: -pair[0])
    return [one for _, one in fitting[:k]]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
