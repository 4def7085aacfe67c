"""What commands print for people: text and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from runtime.logs import printable


class _Console(Console):
    """Shows the control characters of every text that it prints; lines and tabs stay."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The text to print."""
        return super().render_str(printable(text, prose=True), **options)


console = _Console(highlight=False, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | None]]) -> None:
    """Print a plain table; cells are text, never markup."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(escape(printable(cell)) if cell else "–" for cell in row))
    console.print(table, soft_wrap=False)


def ago(moment: datetime | None, now: datetime) -> str | None:
    """How long ago: ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    if moment is None:
        return None
    seconds = max(0, int((now - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
