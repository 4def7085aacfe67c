"""Adds documents to the knowledge base of its user: the files of the last message, what is in archives,
and the pages whose addresses are in its text.

Each document is a step of its own, committed by itself. So an attempt that is lost repeats none, and what
cannot be read is told at the end, and keeps no other document from being added.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import web_page
from conversion import Content, convert, form_of, is_word

from runtime.sdk import Cancelled, Failure, Run
from runtime.sdk.files import File
from runtime.sdk.tool_turns import is_on

LARGEST_TEXT = 4 << 20
"""Bytes that a document may have which is a text."""
LARGEST = 50 << 20
"""Bytes that any other may have."""
MOST = 10_000
"""Documents of an archive, as many as a source may have."""
ENDINGS = frozenset({".md", ".markdown", ".mdx", ".html", ".htm", ".xhtml", ".txt", ".rst", ".pdf", ".docx"})
"""Of the documents in an archive that are added; everything else in it is left out."""
SHOWN = 20
"""Documents that could not be added, and are told with the reason."""
MOST_NAMED = 100
"""Documents of each kind in the data of the answer, for programs."""

_ADDRESS = re.compile(r"<(https?://[^\s<>\"]+)>|(https?://[^\s<>\"]+)", re.I)
"""In angle brackets, where it has its end, or in a sentence."""


@dataclass(frozen=True, slots=True)
class Document:
    """What is to be added."""

    key: str
    """What it is in this run."""
    name: str
    """What it is called in its source."""
    read: Callable[[], Content]
    """Its content. Raises Failure."""
    origin: Mapping[str, str]
    """By what another run is asked for it: the ``url`` of a page, or the id of the attached ``file``."""
    read_if_changed: Callable[[str], Content | None] | None = None
    """The same of a page, but None where it is as it was with that validator."""


@dataclass(slots=True)
class Outcome:
    """What has become of the documents so far."""

    source: str
    added: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    def note(self, document: Document, done: Mapping[str, Any]) -> None:
        """What :func:`_add` has answered for a document."""
        if done["error"] is not None:
            self.failed.append({"name": document.name, "problem": done["error"], **document.origin})
        else:
            (self.added if done["changed"] else self.same).append(document.name)

    def tell(self, run: Run) -> None:
        """Say it, with the names for programs."""
        named: dict[str, list[Any]] = {"added": self.added, "unchanged": self.same, "failed": self.failed}
        counts = {key: len(some) for key, some in named.items()}
        data = {key: some[:MOST_NAMED] for key, some in named.items()} | {"counts": counts}
        run.message(_told(self.source, len(self.added), len(self.same), self.failed), data=data)


def run(run: Run) -> str | None:
    """Add all of them, one after the other."""
    source = run.config.get("source", "documents")
    message = run.messages[-1] if run.messages else None
    documents = [*_pages(message.content)] if message else []
    if message and message.files:
        with run.step("Looking into what you have attached"):
            documents += [document for file in message.files for document in _documents(file)]
    elif not documents:
        return (
            "Attach documents, or a ZIP archive of them, or write the addresses of web pages, "
            "and I add them to your knowledge base."
        )
    outcome = Outcome(source)
    try:
        for number, one in enumerate(documents, 1):
            with run.step(f"Adding {number} of {len(documents)}: {one.name}"):
                done = run.once(one.key, lambda one=one: _add(run, source, one))
            outcome.note(one, done)
    except Cancelled:
        outcome.tell(run)
        raise
    outcome.tell(run)
    return None


def _pages(text: str) -> Iterator[Document]:
    """The pages whose addresses a text has, each once."""
    reader = web_page.Reader(is_on("INGEST_PRIVATE_URLS"), LARGEST, LARGEST_TEXT)
    found = (exact or _without_end(loose) for exact, loose in _ADDRESS.findall(text))
    for address in dict.fromkeys(address.partition("#")[0] for address in found):
        key = f"page/{hashlib.sha256(address.encode(errors='replace')).hexdigest()}"
        read = partial(reader.read, address)
        yield Document(key, address, read, {"url": address}, read)


def _without_end(address: str) -> str:
    """An address without what ends a sentence behind it."""
    clean = address.rstrip(".,;:!?'*_")
    return clean if "(" in clean else clean.rstrip(")].,;:!?'*_")


def _documents(file: File) -> Iterator[Document]:
    """The file itself, or the documents of an archive, in the order of their names."""
    origin = {"file": file.id}
    if not _is_archive(file):
        yield Document(file.id, file.name, lambda: Content(_bounded(file.size, file.read)), origin)
        return
    try:
        archive = zipfile.ZipFile(file.path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        yield Document(file.id, file.name, _refused(f"the archive cannot be read: {error}"), origin)
        return
    members = {one.filename: one for one in archive.infolist() if _is_document(one)}
    if len(members) > MOST:
        refused = _refused(f"the archive has more than {MOST:,} documents; divide it")
        yield Document(file.id, file.name, refused, origin)
        return
    for name, member in sorted(members.items()):
        # The keys of steps are short, and paths may be long.
        key = hashlib.sha256(name.encode(errors="replace")).hexdigest()
        read = partial(_member, archive, member)
        yield Document(f"{file.id}/{key}", name, read, origin)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Content:
    return Content(_unpacked(archive, member))


def _is_archive(file: File) -> bool:
    with file.open() as opened:
        begins_as_one = opened.read(2) == b"PK"
    return begins_as_one and zipfile.is_zipfile(file.path) and not is_word(file.path)


def _refused(problem: str) -> Callable[[], Content]:
    """In place of the content of what cannot be read."""

    def refuse() -> Content:
        raise Failure(problem)

    return refuse


def _is_document(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not member.is_dir() and not hidden and path.suffix.lower() in ENDINGS


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Its content. What the archive says of its size may be wrong, so no more than that is unpacked."""
    try:
        with archive.open(member) as file:
            content = file.read(LARGEST + 1)
    except Exception as error:  # whatever the many ways of packing raise
        raise Failure(f"it cannot be unpacked: {error}") from error
    return _bounded(len(content), lambda: content)


def _bounded(size: int, read: Callable[[], bytes]) -> bytes:
    if size > LARGEST:
        raise Failure(f"it is larger than {LARGEST >> 20} MiB")
    return read()


def _add(run: Run, source: str, document: Document) -> dict[str, Any]:
    """What has become of a document. What another attempt may mend is raised."""
    try:
        content = _read(run, source, document)
        changed = content is not None and _add_read(run, source, document.name, content)
        return {"changed": changed, "error": None}
    except Failure as failure:
        if failure.retryable:
            raise
        return {"changed": False, "error": str(failure)}


def _read(run: Run, source: str, document: Document) -> Content | None:
    """The content of a document; None where it is there as it is. Raises Failure."""
    there = run.find_document(source, document.name) if document.read_if_changed else None
    if document.read_if_changed and there and there.validator:
        return document.read_if_changed(there.validator)
    return document.read()


def _add_read(run: Run, source: str, name: str, content: Content) -> bool:
    """Add a document, converted where it is no text; whether it is not the one that is there already."""
    data = content.data
    form = form_of(data)
    if form is None:
        if len(data) > LARGEST_TEXT:
            raise Failure(f"it is larger than {LARGEST_TEXT >> 20} MiB")
        return run.add_document(source, name, data, kind=content.kind, validator=content.validator)
    digest = hashlib.sha256(data).hexdigest()
    there = run.find_document(source, name)
    # It is converted again for another validator, which is kept with a document only.
    if there and there.digest == digest and content.validator in (None, there.validator):
        return False
    html = convert(data, form)
    return run.add_document(source, name, html, kind="html", digest=digest, validator=content.validator)


def _told(source: str, added: int, same: int, failed: Sequence[Mapping[str, str]]) -> str:
    parts = [f"{_number(added)} added to the source {source!r}"]
    if same:
        parts.append(f"{_number(same)} there already")
    if failed:
        parts.append(f"{_number(len(failed))} could not be added")
    more = [f"- and {len(failed) - SHOWN} more"] if len(failed) > SHOWN else []
    problems = [f"- {one['name']}: {one['problem']}" for one in failed[:SHOWN]]
    return "\n".join([", ".join(parts) + ".", *problems, *more])


def _number(number: int) -> str:
    return f"{number} document{'' if number == 1 else 's'}"
