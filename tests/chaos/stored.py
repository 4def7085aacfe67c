"""What is there at the end: everything in the database and in Redis that the verdict looks at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import redis
import sqlalchemy as sa

from runtime import settings
from runtime.queue.app import queue
from runtime.queue.messages import queue_prefix
from runtime.store import Database, tables
from runtime.stream.keys import Keys


@dataclass(frozen=True)
class StoredMessage:
    """A row."""

    id: str
    state_id: str
    position: int
    attempt: int
    void: bool
    type: str
    content: str
    status: str
    run_id: str | None
    of_user: bool = False
    """Whether it was sent to the run while that was under way."""


@dataclass(frozen=True)
class StoredRun:
    """A row, with the messages of its output state."""

    id: str
    thread_id: str
    output_state_id: str
    status: str
    attempt: int
    failures: int
    reaps: int
    answers: int
    asked: bool
    """Whether it was left waiting for an answer."""
    published: bool
    announced: bool
    leased: bool
    created_at: float
    finished_at: float | None
    error: dict[str, Any] | None
    log: str
    messages: tuple[StoredMessage, ...] = ()
    called_by: str | None = None
    """The run that has called it."""

    def counting(self) -> list[StoredMessage]:
        """The messages that are history, in order."""
        return sorted((m for m in self.messages if not m.void), key=lambda m: m.position)


@dataclass
class Stored:
    """The database and Redis, once all is quiet."""

    runs: dict[str, StoredRun] = field(default_factory=dict)
    prompts: dict[str, list[str]] = field(default_factory=dict)
    """State → the messages of its user."""
    begun: dict[str, str] = field(default_factory=dict)
    """Run → the run whose messages, which nobody had read, have begun it."""
    resting: list[str] = field(default_factory=list)
    """Messages to runs that nobody has read, and that have begun no run."""
    tasks: list[str] = field(default_factory=list)
    """What the outbox still has."""
    paid: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Run and durable step → how often it was taken."""
    completions: Counter[str] = field(default_factory=Counter)
    """Run → how many ``run.completed`` the event logs have."""
    holes: list[str] = field(default_factory=list)
    """Threads whose log lacks a number."""
    waiting_messages: int = 0
    """In the broker's queue."""
    foreign_keys: list[str] = field(default_factory=list)
    """In Redis, where the installation has a name: those of one without."""
    processes: dict[int, str] = field(default_factory=dict)
    """What is left after the end of everything."""
    memory: dict[str, int] = field(default_factory=dict)
    """Kind of process → bytes that one had in memory at most."""


def read(database_url: str, redis_url: str, installation: str, paid: Path) -> Stored:
    """Read all of it; ``installation``: its name, if it has one. ``paid``: where durable steps say so."""
    stored = Stored()
    for line in paid.read_text().splitlines():
        run_id, _, step = line.partition(" ")
        stored.paid[run_id, step] += 1
    database = Database(database_url, settings.load({}).database)
    try:
        database.read(_read_database, stored)
    finally:
        database.close()
    with redis.Redis.from_url(redis_url) as client:
        _read_logs(client, stored, Keys(installation))
        stored.waiting_messages = client.llen(queue("python", installation).name)
        if installation:
            nameless = (f"{Keys().prefix}:".encode(), queue_prefix("").encode())
            stored.foreign_keys = [key.decode() for key in client.scan_iter() if key.startswith(nameless)]
    return stored


def unended(database_url: str) -> list[str]:
    """Runs that are not over, or whose end is not announced yet; and what the outbox has to do."""
    database = Database(database_url, settings.load({}).database)
    try:
        return database.read(_unended)
    finally:
        database.close()


def _unended(c: sa.Connection) -> list[str]:
    runs = tables.runs
    query = sa.select(runs.c.id).where(sa.or_(runs.c.finished_at.is_(None), runs.c.announced_at.is_(None)))
    return [*c.execute(query).scalars(), *_tasks(c)]


def _tasks(c: sa.Connection) -> list[str]:
    return [
        f"{row.kind} {row.key}" for row in c.execute(sa.select(tables.outbox.c.kind, tables.outbox.c.key))
    ]


def _read_database(c: sa.Connection, stored: Stored) -> None:
    of_run: dict[str, list[StoredMessage]] = {}
    for row in c.execute(sa.select(tables.messages).order_by(tables.messages.c.id)):
        if row.run_id is None:
            stored.prompts.setdefault(row.state_id, []).append(row.content)
            continue
        message = StoredMessage(
            row.id, row.state_id, row.position, row.attempt, bool(row.void), str(row.type), row.content,
            str(row.status), row.run_id, row.role == "user",
        )  # fmt: skip
        of_run.setdefault(row.run_id, []).append(message)
    logs: dict[str, str] = {}
    for row in c.execute(sa.select(tables.run_logs).order_by(tables.run_logs.c.attempt)):
        logs[row.run_id] = logs.get(row.run_id, "") + f"[attempt {row.attempt}] {row.text}"
    for row in c.execute(sa.select(tables.runs)):
        stored.runs[row.id] = StoredRun(
            id=row.id,
            thread_id=row.thread_id,
            output_state_id=row.output_state_id,
            status=str(row.status),
            attempt=row.attempt,
            failures=row.failures,
            reaps=row.reaps,
            answers=len(row.answers),
            asked=bool(row.confirmation),
            published=row.published_at is not None,
            announced=row.announced_at is not None,
            leased=row.lease_until is not None or row.claimed_by is not None,
            created_at=_seconds(row.created_at) or 0.0,
            finished_at=_seconds(row.finished_at),
            error=row.error,
            log=logs.get(row.id, ""),
            messages=tuple(of_run.get(row.id, ())),
            called_by=row.parent_run_id if row.call_id is not None else None,
        )
    prompts_of_calls = {
        row.input_state_id for row in c.execute(sa.select(tables.runs)) if row.call_id is not None
    }
    for state_id in prompts_of_calls:
        stored.prompts.pop(state_id, None)
    stored.tasks = _tasks(c)
    in_tree = {message.id for messages in of_run.values() for message in messages if not message.void}
    for row in c.execute(sa.select(tables.queued_messages)):
        if row.next_run_id is not None:
            stored.begun[row.next_run_id] = row.run_id
        elif row.id not in in_tree:
            stored.resting.append(row.content)


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def _read_logs(client: redis.Redis, stored: Stored, keys: Keys) -> None:
    for thread_id in sorted({run.thread_id for run in stored.runs.values()}):
        before: int | None = None
        for entry_id, entry in client.xrange(keys.log(thread_id)):
            seq = int(entry_id.partition(b"-")[0])
            if before is not None and seq != before + 1:
                stored.holes.append(f"{thread_id}: {seq} after {before}")
            before = seq
            if entry[b"t"] == b"run.completed":
                stored.completions[entry[b"r"].decode()] += 1
