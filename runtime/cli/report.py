"""What ``branchline up`` prints: for people, or with ``LOG_FORMAT=json`` an object on each line.

Both are honcho's printers, and are given what the processes print, line by line.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import orjson
from honcho.manager import SYSTEM_PRINTER_NAME
from honcho.printer import Message, Printer
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from runtime.cli import extras
from runtime.cli.terminal import console
from runtime.logs import printable, timestamp
from runtime.settings import Settings


class Report(Protocol):
    """What it says."""

    width: int
    """Characters of the longest name of a process."""

    def write(self, message: Message) -> None:
        """Print a line of a process, or of its supervisor."""

    def done(self, text: str) -> None:
        """Say that a step is done."""

    def note(self, text: str) -> None:
        """Say how it goes on."""

    def warn(self, text: str) -> None:
        """Say what is not as it should be."""

    def ready(self, settings: Settings) -> None:
        """Say that everything runs, and where it is."""


class TextReport(Printer):  # type: ignore[misc]
    """For people: the lines of processes behind their names and the time, the rest in colours."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def write(self, message: Message) -> None:
        """As the protocol says. Control characters are shown."""
        super().write(message._replace(data=printable(message.data, prose=True)))

    def done(self, text: str) -> None:
        """As the protocol says."""
        console.print(f"[green]✓[/] {escape(text)}")

    def note(self, text: str) -> None:
        """As the protocol says."""
        console.print(escape(text))

    def warn(self, text: str) -> None:
        """As the protocol says."""
        console.print(f"[yellow]{escape(text)}[/]")

    def ready(self, settings: Settings) -> None:
        """As the protocol says, with the passwords of this machine."""
        if settings.deployed:  # this output may end up in a log
            account, password = "create one: branchline user add EMAIL", "as set, or in the data folder"
        else:
            account = f"{settings.development.email}, password {settings.development.password}"
            password = settings.flower_password
        rows = {
            "Branchline": settings.web_url,
            "Try the API": f"{settings.web_url}/api/docs",
            "Account": account,
            "Flower": f"{settings.flower_url}/, user {settings.flower.user}, password {password}",
            **({"Gradio": settings.gradio_url} if extras.present("gradio") else {}),
            "Chat here": f"{Path(sys.executable).with_name('branchline')} chat",
            "Data": str(settings.home),
            "Stop": "Ctrl-C; your data is kept",
        }
        table = Table.grid(padding=(0, 2))
        for name, value in rows.items():
            table.add_row(f"[bold]{name}[/]", escape(value))
        console.print(Panel(table, title="Branchline is running", border_style="green", expand=False))


class JsonReport:
    """For what collects logs: nothing but objects, each with the ``process`` that it is of."""

    width = 0

    def write(self, message: Message) -> None:
        """As the protocol says. What a process has logged stays as it is; anything else is a message."""
        text = message.data.rstrip("\n")
        name = "up" if message.name == SYSTEM_PRINTER_NAME else message.name
        logged = _object(text) or _entry("INFO", printable(text, prose=True), message.time.astimezone(UTC))
        _print({**logged, "process": name})

    def done(self, text: str) -> None:
        """As the protocol says."""
        self._say("INFO", text)

    def note(self, text: str) -> None:
        """As the protocol says."""
        self._say("INFO", text)

    def warn(self, text: str) -> None:
        """As the protocol says."""
        self._say("WARNING", text)

    def ready(self, settings: Settings) -> None:
        """As the protocol says, without passwords."""
        flower = f"Flower at {settings.flower_url}/"
        self._say("INFO", f"Branchline is running at {settings.web_url}, {flower}, data in {settings.home}")

    def _say(self, level: str, text: str) -> None:
        _print({**_entry(level, text, datetime.now(UTC)), "process": "up"})


def _entry(level: str, text: str, moment: datetime) -> dict[str, Any]:
    """A record as :class:`runtime.logs.Json` has it."""
    time = timestamp(moment)
    return {"time": time, "level": level, "logger": __name__, "message": text, "pid": os.getpid()}


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _print(entry: dict[str, Any]) -> None:
    """As UTF-8, whatever else is printed: escapes of what another encoding lacks are none of JSON's."""
    sys.stdout.buffer.write(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()
