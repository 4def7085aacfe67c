"""The documents of a conversation: which there are, and the files of their versions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from runtime.sdk import Failure, Run
from runtime.sdk.files import File

LARGEST = 400_000
"""Bytes of a document, all of which a model is given."""
_FORMATS = {"markdown": ".md", "text": ".txt", "html": ".html"}
_TYPES = {".md": "text/markdown", ".html": "text/html", ".htm": "text/html"}
_NOT_IN_NAMES = re.compile(r"[^\w .()-]")
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Document:
    """The newest version of a document."""

    name: str
    version: int
    file: File

    def read(self) -> str:
        """Its text. Raises Failure where it is too long for a model."""
        if self.file.size > LARGEST:
            raise Failure(f"{self.name} is too long: it may have {LARGEST:,} bytes.")
        return self.file.read().decode("utf-8", "replace")


class Documents:
    """Those of a conversation, by name.

    They are in the state of the run: which file is the newest version of each. What a person has
    attached since is a document too, or the next version of one.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        state = run.state if isinstance(run.state, dict) else {}
        named = {file.id: file for message in run.messages for file in message.files}
        self._all: dict[str, Document] = {}
        self._attached: list[str] = list(state.get("attached", ()))
        for name, kept in state.get("documents", {}).items():
            file = named.get(kept["file"]["id"]) or File(kept["file"])
            self._all[name] = Document(name, kept["version"], file)
        for message in run.messages:
            for file in message.files if message.role == "user" else ():
                self._add_attached(file)

    def __iter__(self) -> Iterator[Document]:
        return iter(self._all.values())

    def fitting(self) -> list[Document]:
        """The latest of them that a model can be told at once."""
        room, found = LARGEST, list[Document]()
        for document in reversed(self._all.values()):
            if document.file.size <= room:
                room -= document.file.size
                found.insert(0, document)
        return found

    def find(self, name: str) -> Document | None:
        """The document of that name, be it in capitals, or without its ending where only one can be meant."""
        wanted = name.strip().lower()
        found = [one for one in self if one.name.lower() == wanted]
        found = found or [one for one in self if PurePosixPath(one.name.lower()).stem == wanted]
        return found[0] if len(found) == 1 else None

    def save(self, name: str, text: str) -> None:
        """Make the next version of a document: a file, and beside it what has changed, in one message."""
        before = self._all.get(name)
        version = before.version + 1 if before else 1
        path = PurePosixPath(name)
        of_version = f"{path.stem}-v{version}"
        type = _TYPES.get(path.suffix, "text/plain")
        made = self._run.file(f"{of_version}{path.suffix}", text.encode(), type, show=False)
        files = [made]
        if before is not None:
            changed = diff(before, text).encode()
            files.append(self._run.file(f"{of_version}.diff", changed, "text/x-diff", show=False))
        self._all[name] = Document(name, version, made)
        data = {"document": {"name": name, "version": version}}
        self._run.message(f"{name}, v{version}", data=data, files=files)

    def keep(self) -> None:
        """Have the next run find them."""
        documents = {
            one.name: {"version": one.version, "file": one.file.as_fields()} for one in self._all.values()
        }
        self._run.state = {"documents": documents, "attached": self._attached}

    def _add_attached(self, file: File) -> None:
        if file.id in self._attached:
            return
        self._attached.append(file.id)
        name = safe_name(file.name)
        before = self._all.get(name)
        self._all[name] = Document(name, before.version + 1 if before else 1, file)


def safe_name(name: str, format: str | None = None) -> str:
    """A name of a file, of that format; without one, as the name has it, else Markdown."""
    path = PurePosixPath(_NOT_IN_NAMES.sub("_", name.strip().rpartition("/")[2]).strip(" .") or "document")
    suffix = _FORMATS[format] if format else path.suffix or _FORMATS["markdown"]
    return f"{path.stem[:_LONGEST_NAME]}{suffix}"


def diff(before: Document, text: str) -> str:
    """What another text of the document changes, as a unified diff."""
    names = f"{before.name}, v{before.version}", f"{before.name}, v{before.version + 1}"
    lines = difflib.unified_diff(before.read().splitlines(), text.splitlines(), *names, lineterm="")
    return "".join(f"{line}\n" for line in lines)


def clean(text: str) -> str:
    """A document as a model writes it, without a fence around it, which is none of it."""
    text = text.strip()
    fenced = re.fullmatch(r"(`{3,})[\w-]*\n(.*)\n\1", text, flags=re.DOTALL)
    inside = fenced[2] if fenced and fenced[1] not in fenced[2] else text
    return f"{inside}\n" if inside else ""
