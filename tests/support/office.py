"""PDF and Word documents for tests, made here."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import docx
from pypdf import PdfReader, PdfWriter


def pdf(
    *pages: str,
    outline: Sequence[tuple[str, int]] = (),
    title: str | None = None,
    password: str | None = None,
    owner: str | None = None,
) -> bytes:
    """A PDF of these pages, as lines of text.

    ``outline``: headings and their pages, from 0, each one level below the one before. ``password``,
    ``owner``: it is encrypted, and opened with the first one, which may be empty.
    """
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(plain(*pages))))
    parent: Any = None
    for heading, page in outline:
        parent = writer.add_outline_item(heading, page, parent=parent)
    if title:
        writer.add_metadata({"/Title": title})
    if password is not None:
        writer.encrypt(password, owner, algorithm="AES-256")
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


def plain(*pages: str | bytes) -> bytes:
    """A PDF of these pages, as lines of text or as what draws them, and nothing else."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    kids = []
    for page in pages:
        drawn = page if isinstance(page, bytes) else _drawn(page)
        number = len(objects) + 1
        kids.append(b"%d 0 R" % number)
        resources = b"/Resources<</Font<</F 3 0 R>>>>/MediaBox[0 0 600 800]"
        objects.append(b"<</Type/Page/Parent 2 0 R%b/Contents %d 0 R>>" % (resources, number + 1))
        objects.append(b"<</Length %d>>stream\n%b\nendstream" % (len(drawn), drawn))
    objects[1] = b"<</Type/Pages/Count %d/Kids[%b]>>" % (len(kids), b" ".join(kids))
    whole, places = bytearray(b"%PDF-1.4\n"), []
    for number, one in enumerate(objects, 1):
        places.append(len(whole))
        whole += b"%d 0 obj%b\nendobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size, start = len(objects) + 1, len(whole)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % size
    return bytes(
        whole + head + table + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (size, start)
    )


def _drawn(text: str) -> bytes:
    lines = (line.translate({40: "\\(", 41: "\\)", 92: "\\\\"}).encode("cp1252") for line in text.split("\n"))
    return b"BT /F 12 Tf 14 TL 50 750 Td " + b" T* ".join(b"(%b) Tj" % line for line in lines) + b" ET"


def word(*blocks: tuple[str, str] | Sequence[Sequence[str]]) -> bytes:
    """A Word document of paragraphs, each with its style, and tables, as rows of cells."""
    document = docx.Document()
    for block in blocks:
        if isinstance(block, tuple):
            document.add_paragraph(block[1], style=block[0])
            continue
        table = document.add_table(rows=0, cols=len(block[0]))
        for row in block:
            for cell, text in zip(table.add_row().cells, row, strict=True):
                cell.text = text
    target = io.BytesIO()
    document.save(target)
    return target.getvalue()


def repacked(document: bytes, parts: Mapping[str, bytes]) -> bytes:
    """A Word document with other contents of some of its parts, or with further ones."""
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(document)) as before,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as after,
    ):
        for name in {*before.namelist(), *parts}:
            after.writestr(name, parts[name] if name in parts else before.read(name))
    return target.getvalue()
