"""PDF as HTML: the text of the pages, each below its number and the headings of the outline."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from pypdf import PdfReader
from unreadable import Unreadable

MOST_PAGES = 2000
_DEEPEST = 5
"""Of the levels of headings; the sixth are the pages."""
_LONGEST_NUMBER = 12
"""Letters and digits before a heading in the text that its outline may leave out, as in "2.1 Food"."""
_DIVIDED_WORD = re.compile(r"(?<=[^\W\d_])[-\u00ad]\n(?=[a-z\u00df-\u00ff])")

Heading = tuple[int, str]
"""Its level, from 1, and what it says."""


def pieces(content: bytes) -> Iterator[str]:
    """The document, piece by piece. Raises Unreadable, and whatever pypdf raises."""
    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("is protected by a password")
    if len(reader.pages) > MOST_PAGES:
        raise Unreadable(f"has more than {MOST_PAGES:,} pages; split it")
    if title := reader.metadata and reader.metadata.title:
        yield f"<title>{escape(title)}</title>"
    headings, has_text = _headings(reader), False
    for number, page in enumerate(reader.pages):
        text = page.extract_text()
        has_text = has_text or bool(text.strip())
        yield from _page(number + 1, text.split("\n"), headings.get(number, ()))
    if not has_text:
        raise Unreadable("has no text; its pages may be pictures, which would have to be recognised first")


def _headings(reader: PdfReader) -> Mapping[int, Sequence[Heading]]:
    """Those of the outline by their pages, from 0; none where it cannot be understood."""
    found: defaultdict[int, list[Heading]] = defaultdict(list)

    def collect(entries: Sequence[Any], level: int) -> None:
        for entry in entries:
            if isinstance(entry, list):
                collect(entry, min(level + 1, _DEEPEST))
            elif (number := reader.get_destination_page_number(entry)) is not None:
                found[number].append((level, str(entry.title)))

    try:
        collect(reader.outline, 1)
    except Exception:  # the text is worth more than its outline
        return {}
    return found


def _page(number: int, lines: Sequence[str], headings: Sequence[Heading]) -> Iterator[str]:
    """A page. A heading that is not found in it stands where the one before it does."""
    begin = 0
    for level, title in headings:
        place = _place(lines, title, begin)
        if place is not None:
            yield from _text(number, lines[begin:place])
            begin = place + 1
        yield f"<h{level}>{escape(title)}</h{level}>"
    yield from _text(number, lines[begin:])


def _place(lines: Sequence[str], title: str, begin: int) -> int | None:
    """The line that is a heading, from ``begin`` on."""
    wanted = _letters(title)
    for place in range(begin, len(lines)):
        there = _letters(lines[place])
        if wanted and there.endswith(wanted) and len(there) - len(wanted) <= _LONGEST_NUMBER:
            return place
    return None


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


def _text(number: int, lines: Sequence[str]) -> Iterator[str]:
    text = _DIVIDED_WORD.sub("", "\n".join(lines)).strip()
    if text:
        paragraphs = re.split(r"\n\s*\n", escape(text))
        yield f"<h6>Page {number}</h6>" + "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
