"""HTML: its text in sections, without what no reader sees. Nothing of it is loaded or executed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from runtime.knowledge.splitting import Outline, Section

_UNSEEN = frozenset(
    {
        "script",
        "style",
        "template",
        "noscript",
        "iframe",
        "object",
        "svg",
        "math",
        "select",
    }
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    {
        "address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "div", "dl",
        "dt", "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "li", "main", "nav", "ol",
        "p", "pre", "section", "summary", "table", "tr", "ul",
    }
)  # fmt: skip
"""What begins a line of its own."""
_CELLS = frozenset({"td", "th"})
_BLANK_LINES = re.compile(r"\n\s*\n")
_SPACE_BEFORE_LINE = re.compile(r"\n (?=\S)")


def sections(text: str) -> tuple[str | None, list[Section]]:
    """The title of a page, and its sections."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    return parser.finish()


class _Parser(HTMLParser):
    """Collects what is seen, below the headings above it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._outline = Outline()
        self._parts: list[str] = []
        self._title: list[str] = []
        self._heading = 0
        """The level of the heading that is open; 0: none is."""
        self._unseen: list[str] = []
        self._is_title = False
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._unseen or tag in _UNSEEN:
            if tag in _UNSEEN:
                self._unseen.append(tag)
        elif tag == "title":
            self._is_title = True
        elif tag in _HEADINGS:
            self._end_section()
            self._heading = _HEADINGS[tag]
        elif tag in _BLOCKS:
            self._preformatted += tag == "pre"
            self._parts.append("\n")
        elif tag in _CELLS:
            self._parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            if tag in self._unseen:
                del self._unseen[self._unseen.index(tag) :]
        elif tag == "title":
            self._is_title = False
        elif tag in _HEADINGS:
            self._end_section()
        elif tag in _BLOCKS:
            self._preformatted -= tag == "pre" and self._preformatted > 0
            self._parts.append("\n\n" if tag in ("p", "pre", "table", "ul", "ol", "blockquote") else "\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _UNSEEN:  # XHTML may close what is empty at once
            self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        if self._unseen:
            return
        if self._is_title:
            self._title.append(data)
        else:
            self._parts.append(data if self._preformatted else re.sub(r"\s+", " ", data))

    def finish(self) -> tuple[str | None, list[Section]]:
        """All that was collected."""
        self._end_section()
        return " ".join("".join(self._title).split()) or None, self._outline.sections()

    def _end_section(self) -> None:
        """What was collected is a heading if one is open, else the text of a section."""
        text, self._parts = "".join(self._parts), []
        if self._heading:
            self._outline.heading(self._heading, text)
            self._heading = 0
        else:
            self._outline.text(_SPACE_BEFORE_LINE.sub("\n", _BLANK_LINES.sub("\n\n", text)))
