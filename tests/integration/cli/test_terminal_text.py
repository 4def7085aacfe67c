"""No text from the database or from a server controls the terminal on which a command prints it."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from honcho.printer import Message

from runtime import settings as settings_module
from runtime.cli import branchline
from runtime.cli.report import TextReport
from runtime.cli.supervisor import Service
from runtime.model import Role
from runtime.settings import CHECKOUT
from runtime.store import Database, runs, states, tables, threads, users
from runtime.testing.ports import free_port
from tests.support.command_line import Command

HOSTILE = "a\x1b[2J\x1b]0;x\x07b\x9b31mc\x7fd\x08e\rf\x0bg\u202eh\u2066i\u2028j\u200fk\x85l\ufeffm\nn"
BIDIRECTIONAL = {"\u061c", "\u200e", "\u200f", "\u2028", "\u2029", "\ufeff", *map(chr, range(0x202A, 0x202F))}
BIDIRECTIONAL |= set(map(chr, range(0x2066, 0x206A)))
OURS = {"id", "status", "role", "type", "channel", "hash", "password_hash", "incarnation", "email"}
"""Columns whose values are our own, or are looked for by a command."""


def controls(text: str) -> set[str]:
    """The characters of ``text`` that are not merely shown."""
    return {
        each
        for each in text
        if (unicodedata.category(each) in ("Cc", "Cs") or each in BIDIRECTIONAL) and each not in "\n\t"
    }


@pytest.fixture
def run_id(migrated: Command, home: Path, settings: Any) -> Iterator[str]:
    """A run, in a database whose every text is hostile."""
    database = Database(f"sqlite:///{home}/branchline.db", settings.database)
    yield database.write(_make_run)
    database.close()


def _make_run(c: sa.Connection) -> str:
    user = users.register(c, email="ada@example.com", password_hash="-", name=HOSTILE)
    thread = threads.create(c, workspace_id=user.workspace_id, user_id=user.id, title=HOSTILE)
    spec = runs.RunSpec(
        worker_id="echo", worker_digest="0" * 64, pool="python", config={"a": HOSTILE}, args=HOSTILE,
        max_attempts=3, timeout_seconds=60,
    )  # fmt: skip
    said = [states.NewMessage(Role.USER, HOSTILE)]
    created = runs.create(c, thread, user.id, thread.root_state_id, said, spec, published=False)
    run_id = created.runs[0].id
    now = tables.now()
    c.execute(
        tables.run_steps.insert().values(run_id=run_id, attempt=1, number=1, description="", created_at=now)
    )
    c.execute(tables.run_logs.insert().values(run_id=run_id, attempt=1, text="", truncated=False))
    users.create_token(c, user.id, HOSTILE)
    _make_hostile(c)
    return run_id


def _make_hostile(c: sa.Connection) -> None:
    error = {"code": HOSTILE, "message": HOSTILE, "retryable": False, "log_tail": HOSTILE}
    for table in tables.metadata.sorted_tables:
        texts = {
            column.name: HOSTILE
            for column in table.c
            if (isinstance(column.type, sa.Text | sa.String) and column.name not in OURS
            and not column.foreign_keys and not column.name.endswith(("_id", "_by"))) or column.name in
            ("worker_id", "claimed_by")
        }  # fmt: skip
        if texts:
            c.execute(table.update().values(texts))
    c.execute(tables.runs.update().values(error=error, usage={HOSTILE: HOSTILE}))


COMMANDS = [
    ("runs", "list"), ("runs", "list", "--json"), ("runs", "show", "RUN"), ("runs", "show", "RUN", "--json"),
    ("runs", "list", "--worker", HOSTILE), ("runs", "cancel", "RUN"), ("runs", "cancel", "RUN", "--json"),
    ("user", "add", f"{HOSTILE}@x.com", "--password", "correct horse"),
    ("user", "add", "eve@x.com", "--password", "correct horse", "--name", HOSTILE, "--json"),
    ("user", "password", "ada@example.com", "--password", "another horse"),
    ("user", "password", HOSTILE, "--password", "another horse"),
    ("token", "create", "ada@example.com"), ("token", "create", HOSTILE),
    ("token", "create", "ada@example.com", "--name", HOSTILE, "--json"),
    ("doctor",), ("doctor", "--json"), ("check",), ("check", "--json"), ("chat", HOSTILE), ("migrate",),
]  # fmt: skip


def test_no_command_prints_a_control_character(
    run_id: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands run in this process, which is quick; they read the environment again."""
    for name, manifest in (
        ("odd", 'name = "a\\u001b[2J\\u202e"\ntype = "exec"\ncommand = ["\\u001b[2J/nowhere"]\nid = "odd"'),
        ("broken", 'id = "\\u001b[2J"'),
    ):
        folder = tmp_path / "workers" / f"{name}\x1b[2J"
        folder.mkdir(parents=True)
        (folder / "worker.toml").write_text(manifest)

    monkeypatch.setenv("BRANCHLINE_HOME", str(home))
    monkeypatch.setenv("WORKERS_PATH", str(tmp_path / "workers"))
    monkeypatch.setenv("PORT", str(free_port()))
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    settings_module.current.cache_clear()

    for command in COMMANDS:
        arguments = [run_id if part == "RUN" else part for part in command]
        result = CliRunner().invoke(branchline, arguments)

        assert result.exception is None or isinstance(result.exception, SystemExit), command
        assert result.output
        assert not controls(result.output), (command, ascii(result.output))
        if "--json" in command:
            json.loads(result.stdout)
    settings_module.current.cache_clear()


def test_a_run_is_shown_as_it_is_stored(migrated: Command, run_id: str) -> None:
    as_json = json.loads(migrated("runs", "show", run_id, "--json").stdout)
    as_text = migrated("runs", "show", run_id).stdout

    assert as_json["run"]["args"] == as_json["log"][0]["text"] == HOSTILE
    assert "\\ufeffm\nn\n" in as_text, "the lines of a log stay lines"
    assert "step: a\\x1b[2J" in as_text


def test_up_shows_what_its_processes_print(capsys: pytest.CaptureFixture[str]) -> None:
    code = r"import sys; sys.stdout.buffer.write('a\x1b[2J\tb\u2028c\r\n'.encode() + b'\xff\x9b\n')"
    events: queue.Queue[Message] = queue.Queue()
    service = Service(cmd=f'{sys.executable} -c "{code}"', env={}, cwd=str(CHECKOUT))
    service.run(events)
    service._child.stdout.close()
    report = TextReport()
    for message in (events.get_nowait() for _ in range(events.qsize())):
        if message.type == "line":
            report.write(message)

    printed = capsys.readouterr().out.splitlines()
    assert [line.partition("| ")[2] for line in printed] == ["a\\x1b[2J\tb\\u2028c", "\ufffd\ufffd"]


def test_the_console_shows_every_text_that_it_is_given() -> None:
    code = (
        "from runtime.cli.terminal import console, print_table\n"
        f"h = {HOSTILE!r}\n"
        "console.print(h)\nconsole.print(h, markup=False)\nconsole.print('[bold]x[/]', h)\n"
        "print_table([h], [[h], [h]])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, timeout=60
    )

    assert result.returncode == 0, result.stderr
    assert "\\x1b[2J" in result.stdout
    assert not controls(result.stdout), ascii(result.stdout)


def test_a_terminal_that_has_ascii_only_is_written_to(branchline_from_python: Command) -> None:
    ascii_only = {"LANG": "C", "PYTHONIOENCODING": "ascii", "WORKERS_PATH": "/nowhere/日本"}
    done = branchline_from_python("doctor", **ascii_only)
    assert (done.returncode, done.stderr) == (1, "")
    assert "!! redis: no answer" in done.stdout and "  -> Start it" in done.stdout
    assert "/nowhere/\\u65e5\\u672c" in done.stdout
