"""The worker ``ingest`` adds what is attached to its user's knowledge base, document by document."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runtime.sdk.testing import execute
from runtime.settings import CHECKOUT
from tests.support.office import pdf, word

WORKER = CHECKOUT / "workers" / "ingest"


def packed(members: Mapping[str, str | bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


@pytest.fixture
def attach(tmp_path: Path) -> Any:
    def attached(files: Mapping[str, bytes]) -> dict[str, Any]:
        fields = []
        for number, (name, content) in enumerate(files.items()):
            path = tmp_path / name
            path.write_bytes(content)
            fields.append({"id": f"file-{number}", "name": name, "size": len(content), "path": str(path)})
        return {"role": "user", "content": "", "files": fields}

    return attached


def test_files_and_the_documents_of_archives_are_added(attach: Any) -> None:
    long = "folder/" * 60 + "b.md"
    archive = packed({long: "# B", "c.txt": "C", "d.exe": b"MZ", ".git/e.md": "E", "__MACOSX/f.md": "F"})
    result = execute(WORKER, [attach({"one.md": b"# One", "more.zip": archive})], config={"source": "mine"})

    assert result.text == "3 documents added to the source 'mine'."
    assert len(result.saved) == 3


def test_pdf_and_word_documents_are_converted(attach: Any) -> None:
    dogs = word(("Heading 1", "Dogs"))
    archive = packed({"in/cats.pdf": pdf("Cats."), "dogs.docx": dogs, "e.pdf": b"%PDF-"})
    message = attach({"fish.pdf": pdf("Fish."), "more.zip": archive})
    result = execute(WORKER, [message])

    first, *failed = result.text.splitlines()
    assert first == "3 documents added to the source 'documents', 1 document could not be added."
    assert failed == ["- e.pdf: it is broken: Stream has ended unexpectedly"]


def test_a_document_that_cannot_be_added_is_told_and_the_others_are_added(attach: Any) -> None:
    bomb = packed({"bomb.txt": b"\0" * (5 << 20), "good.md": "# Good"})
    damaged = packed({"x.txt": "x" * 1000})
    damaged = damaged[:36] + b"\xff\xff\xff" + damaged[39:]
    files = {
        "bomb.zip": bomb,
        "damaged.zip": damaged,
        "cut.zip": b"PK" + bomb[-22:],
        "large.txt": b"x" * ((4 << 20) + 1),
    }
    result = execute(WORKER, [attach(files)])

    first, *failed = result.text.splitlines()
    assert first == "1 document added to the source 'documents', 4 documents could not be added."
    assert failed[0] == "- bomb.txt: it is larger than 4 MiB"
    assert failed[1].startswith("- x.txt: it cannot be unpacked: ")
    assert failed[2].startswith("- cut.zip: the archive cannot be read: ")
    assert failed[3] == "- large.txt: it is larger than 4 MiB"


def test_programs_are_told_how_many_there_were_and_by_what_each_that_failed_is_asked_for(attach: Any) -> None:
    archive = packed({"a.md": "# A", "b.pdf": b"%PDF-"})
    message = attach({"all.zip": archive, "c.txt": b"C"})
    data = execute(WORKER, [message]).messages[-1].data

    assert data["counts"] == {"added": 2, "unchanged": 0, "failed": 1}
    problem = "it is broken: Stream has ended unexpectedly"
    assert data["failed"] == [{"name": "b.pdf", "problem": problem, "file": "file-0"}]


def test_what_was_added_before_it_was_cancelled_is_told(attach: Any) -> None:
    archive = packed({f"{number}.md": f"# {number}" for number in range(9)})
    result = execute(WORKER, [attach({"all.zip": archive})], cancel_after=5)

    assert result.status == "cancelled"
    data = result.messages[-1].data
    assert 0 < data["counts"]["added"] < 9
    assert data["failed"] == []


@pytest.mark.parametrize("lines", range(1, 9))
def test_an_attempt_that_is_lost_repeats_no_document_that_was_committed(attach: Any, lines: int) -> None:
    archive = packed({f"{number}.md": f"# {number}" for number in range(3)})
    message = attach({"all.zip": archive})
    result = execute(WORKER, [message], crash_after=lines, max_attempts=2)

    while result.status == "queued":
        result = result.resume()
    assert result.text == "3 documents added to the source 'documents'."


def test_without_files_it_says_what_it_is_for() -> None:
    assert execute(WORKER, "hello").text.startswith("Attach documents")
