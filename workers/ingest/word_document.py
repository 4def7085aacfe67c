"""DOCX as HTML: paragraphs, headings by their styles, and tables.

Not read: headers and footers, notes, comments, text boxes, content controls, and what is marked as
inserted and not accepted yet.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from html import escape
from typing import Any

import docx
from docx.table import Table
from docx.text.paragraph import Paragraph
from unreadable import Unreadable

MOST_UNPACKED = 200 << 20
"""Bytes of all parts of the archive that it is, pictures included."""
_HEADING = re.compile(r"heading ([1-9])", re.I)
_DEEPEST = 6
_BASES = 20
"""Styles that one may be based on, one on the other."""


def pieces(content: bytes) -> Iterator[str]:
    """The document, piece by piece. Raises Unreadable, and whatever python-docx raises."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file) as archive:  # which unpacks no more of a part than is said here
        if sum(part.file_size for part in archive.infolist()) > MOST_UNPACKED:
            raise Unreadable(f"unpacks to more than {MOST_UNPACKED >> 20} MiB")
    for block in docx.Document(file).iter_inner_content():
        yield _paragraph(block) if isinstance(block, Paragraph) else _table(block)


def _paragraph(paragraph: Paragraph) -> str:
    text = escape(paragraph.text)
    if not text.strip():
        return ""
    level = _level(paragraph.style)
    return f"<h{level}>{text}</h{level}>" if level else f"<p>{text.replace(chr(10), '<br>')}</p>"


def _level(style: Any) -> int:
    """Of the heading that paragraphs of a style are, below the title, which is 1; 0: they are none.

    The names of the styles that Word brings along are English in its files, whatever it shows.
    """
    for _ in range(_BASES):
        if style is None:
            break
        name = style.name or ""
        if name.casefold() == "title":
            return 1
        if found := _HEADING.fullmatch(name):
            return min(int(found[1]) + 1, _DEEPEST)
        style = style.base_style
    return 0


def _table(table: Table) -> str:
    rows = []
    for row in table.rows:
        cells = dict.fromkeys(row.cells)  # one that spans columns is there for each of them
        rows.append("".join(f"<td>{escape(cell.text)}</td>" for cell in cells))
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
