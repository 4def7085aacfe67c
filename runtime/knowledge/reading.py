"""Reading documents: what a file is, its text, and the passages of that.

What a document has in it is its author's choice, and no time is promised for it. So it is read in a
process of its own, which is ended after some seconds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from runtime.errors import FieldError, Invalid, LimitExceeded
from runtime.knowledge import html, words
from runtime.knowledge.model import Kind, Passage
from runtime.knowledge.splitting import Outline, Section, passages
from runtime.process_pool import ProcessPool

LARGEST = 4 << 20
"""Bytes that a document may have."""
MOST_PASSAGES = 10_000
"""Passages that a document may have: a page of nothing but headings has as many as those."""
_SECONDS = 5.0
"""Of the processor that one may need."""
_PATIENCE = 10.0
"""Seconds that a document may wait for others."""
_KINDS = {
    **dict.fromkeys((".md", ".markdown", ".mdx"), Kind.MARKDOWN),
    **dict.fromkeys((".html", ".htm", ".xhtml"), Kind.HTML),
}
_LOOKS_LIKE_HTML = re.compile(rb"\s*(?:<!--.{,1000}?-->\s*)?<(?:!doctype\s+html|html[\s>])", re.I | re.S)
_CHARSET = re.compile(rb"<meta[^>]{,200}?charset\s*=\s*[\"']?\s*([\w-]{,40})", re.I)
_CHARSETS = re.compile(
    r"utf-?8|us-ascii|iso-8859-(?:[1-9]|1[013456])|windows-(?:125[0-8]|874)|koi8-[ru]|shift_jis|euc-(?:jp|kr)"
    r"|big5|gb2312|gbk|gb18030",
    re.I,
)
"""Those of old pages. Other codecs of Python read no text, or need very long."""
_HEAD = 2048
_LONGEST_HEADING = 1000
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def read(
    content: bytes, name: str, caller: str, kind: Kind | None = None
) -> tuple[Kind, str | None, list[Passage]]:
    """What a document is, its title, and its passages.

    ``name``: by whose end it is known where no ``kind`` is given; ``caller``: the id of the user whose
    it is, who has one read at a time. Raises Invalid where it cannot be read, TooMany and Unavailable
    as :meth:`ProcessPool.call`.
    """
    kind = _kind(content, name, kind)
    text = _decoded(content, kind)
    try:
        said = _processes.call({"kind": kind, "text": text}, caller)
    except LimitExceeded as error:
        raise _unreadable(f"could not be read within {_SECONDS:g} s; split it, or make it simpler") from error
    found = [Passage.decode(one) for one in said["passages"]]
    if len(found) > MOST_PASSAGES:
        raise _unreadable(f"has more than {MOST_PASSAGES} passages; split it")
    return kind, said["title"], found


def examine(document: Mapping[str, Any]) -> dict[str, Any]:
    """The title and the passages of a text. It runs in the other process."""
    text = unicodedata.normalize("NFC", document["text"].replace("\r\n", "\n").replace("\0", "\ufffd"))
    title, found = _READERS[document["kind"]](text)
    said = []
    for part in passages(found):
        searched = words.searched(*part.titles, part.text)
        said.append({"titles": part.titles, "text": part.text, "words": searched})
        if len(said) > MOST_PASSAGES:
            break
    title = title or next((section.titles[0] for section in found if section.titles), None)
    return {"title": title and title[:500], "passages": said}


_processes = ProcessPool(examine, size=2, seconds=_SECONDS, patience=_PATIENCE)


def _kind(content: bytes, name: str, given: Kind | None) -> Kind:
    if b"\0" in content[:_HEAD] and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _unreadable("is no text; Markdown, HTML and plain text can be read")
    if content.startswith(b"%PDF-"):
        raise _unreadable("is a PDF, which is added by an ingestion, or by branchline kb add")
    kind = given or _KINDS.get(PurePosixPath(name).suffix.lower())
    return kind or (Kind.HTML if _LOOKS_LIKE_HTML.match(content[:_HEAD]) else Kind.TEXT)


def _decoded(content: bytes, kind: Kind) -> str:
    """The text of a file, by its mark of bytes, else as UTF-8, else as a page says itself."""
    try:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return content.decode("utf-16")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        told = _CHARSET.search(content[:_HEAD]) if kind is Kind.HTML else None
        charset = told.group(1).decode() if told else ""
        if _CHARSETS.fullmatch(charset):
            return content.decode(charset, "replace")
        raise _unreadable("is not written in UTF-8; save it so") from error


def _markdown(text: str) -> tuple[None, list[Section]]:
    """Sections below headings, of either form, as they stand in the text; none within a block of code."""
    outline, lines, fence = Outline(), list[str](), ""
    for line in text.split("\n"):
        if fence:
            mark = _FENCE.match(line)
            if mark and mark.group(1).startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif mark := _FENCE.match(line):
            fence = mark.group(1)
        elif len(line) < _LONGEST_HEADING and (heading := _HEADING.match(line)):
            outline.text("\n".join(lines))
            outline.heading(len(heading.group(1)), heading.group(2) or "")
            lines = []
            continue
        elif lines and lines[-1].strip() and (under := _UNDERLINE.match(line)) and _stands_alone(lines):
            title = lines.pop()
            outline.text("\n".join(lines))
            outline.heading(1 if under.group(1)[0] == "=" else 2, title)
            lines = []
            continue
        lines.append(line)
    outline.text("\n".join(lines))
    return None, outline.sections()


def _stands_alone(lines: list[str]) -> bool:
    """Whether the last line is a paragraph of its own, and no table, list or quote."""
    is_first = len(lines) < 2 or not lines[-2].strip()
    return is_first and lines[-1].lstrip()[:1] not in ("|", "-", "*", "+", ">")


def _text(text: str) -> tuple[None, list[Section]]:
    outline = Outline()
    outline.text(text)
    return None, outline.sections()


_READERS = {Kind.MARKDOWN: _markdown, Kind.HTML: html.sections, Kind.TEXT: _text}


def _unreadable(problem: str) -> Invalid:
    return Invalid(f"The document {problem}.", [FieldError(("file",), problem)])
