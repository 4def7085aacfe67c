"""A backup that was taken under way is restored as docs/how-to/back-up.md says, with an empty Redis."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from runtime import settings as settings_module
from runtime.cli.users import register
from runtime.model import Role
from runtime.services import Services
from runtime.store import Database, backlog, runs, states, tables, threads
from runtime.testing.client import PASSWORD, Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.sse import Text
from runtime.testing.stack import Stack
from tests.support.attempt import Attempt

ACCOUNT = {"email": "ada@example.com", "password": PASSWORD}
SPEC = runs.RunSpec("echo", "digest", "python", {}, None, max_attempts=3, timeout_seconds=60)


@pytest.fixture
def restore(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Back the database up and restore it elsewhere; the URL of the copy."""
    source = sa.make_url(database_url)
    if source.get_backend_name() == "sqlite":
        yield lambda: _copy_sqlite(str(source.database), tmp_path / "restored.db")
        return
    if shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not on the PATH")
    name = f"branchline_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(request.getfixturevalue("postgresql_server"), autocommit=True) as server:
        yield lambda: _copy_postgresql(server, source, name, tmp_path / "backup")
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.mark.databases
def test_a_restored_backup_has_its_history_and_continues_its_runs(
    database: Database,
    database_url: str,
    redis_url: str,
    own_redis: RedisServer,
    restore: Callable[[], str],
    tmp_path: Path,
) -> None:
    environ = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "BRANCHLINE_HOME": str(tmp_path)}
    services = Services(settings_module.load(environ))
    with closing(services.database), closing(services.link):
        user = register(database, ACCOUNT["email"], ACCOUNT["password"], "Ada")
        thread = database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)
        queued, under_way, ended = (
            database.write(ask, thread, user.id, text) for text in ("queued", "under way", "ended")
        )
        done = Attempt(services, ended)
        done.say("as it ", "was")
        done.finish()
        attempt = Attempt(services, under_way)
        attempt.write(attempt.begin_message(), "half of ")
        attempt.save()
        copy = restore()
        database.write(forget, under_way)  # what happens after the backup is not in it

    with Stack(tmp_path, copy, own_redis.url) as stack, closing(Client(stack.url)) as ada:
        ada.post("/api/auth/login", json=ACCOUNT).raise_for_status()
        text = Text()
        for event in ada.follow({"id": ended}):
            text.apply(event)
        assert list(text.complete.values()) == ["as it was"]
        for run_id, attempts in ((queued, 1), (under_way, 2)):
            result = ada.wait({"id": run_id}, timeout=40)
            assert (result["run"]["status"], result["run"]["attempt"]) == ("success", attempts)
        assert [message["content"] for message in result["messages"]] == ["under way"]
        again = ada.ask({"id": thread.id}, "afterwards", result["run"]["output_state_id"])["runs"][0]
        assert ada.wait(again)["run"]["status"] == "success"


def ask(c: sa.Connection, thread: threads.Thread, user_id: str, text: str) -> str:
    """A queued run; its id."""
    queue = backlog.queue_stats(c, SPEC.pool, user_id, 10)
    messages = [states.NewMessage(Role.USER, text)]
    made = runs.create(c, thread, user_id, thread.root_state_id, messages, SPEC, published=queue.room > 0)
    return made.runs[0].id


def forget(c: sa.Connection, run_id: str) -> None:
    c.execute(tables.runs.update().where(tables.runs.c.id == run_id).values(worker_id="gone"))


def _copy_sqlite(source: str, target: Path) -> str:
    with closing(sqlite3.connect(source)) as ours, closing(sqlite3.connect(target)) as copy:
        ours.backup(copy)  # what ".backup" of the program sqlite3 calls
    return f"sqlite:///{target}"


def _copy_postgresql(server: psycopg.Connection, source: sa.URL, name: str, file: Path) -> str:
    def url(database: str | None) -> str:
        plain = source.set(drivername="postgresql", database=database)
        return plain.render_as_string(hide_password=False)

    subprocess.run(["pg_dump", "--format=custom", f"--file={file}", url(source.database)], check=True)
    server.execute(f"CREATE DATABASE {name}")
    subprocess.run(["pg_restore", "--exit-on-error", f"--dbname={url(name)}", str(file)], check=True)
    return url(name)
