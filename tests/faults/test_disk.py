"""A full disk, or a database that is locked for long: 503, nothing broken, all well afterwards."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.reader import Reader

SETTINGS = {
    "BRANCHLINE_DATABASE_BUSY_TIMEOUT": "2",
    "BRANCHLINE_POOL_LEASE": "15",
    "BRANCHLINE_POOL_RENEW": "1",
    "BRANCHLINE_POOL_DRAIN": "0.5",
    "BRANCHLINE_REAPER_INTERVAL": "0.2",
    "BRANCHLINE_REAPER_PUBLISH_GRACE": "1",
    "BRANCHLINE_REAPER_ANNOUNCE_GRACE": "0.5",
}
BIG = "x" * 200_000  # a config holds it, and may have 256 KiB
MEGABYTES = 24


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Two small file systems: the database's and Redis's."""
    folders = tmp_path_factory.mktemp("database"), tmp_path_factory.mktemp("redis")
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system to fill")
    mounted = []
    try:
        for folder in folders:
            command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "branchline", str(folder)]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                pytest.skip("this root may not mount a small file system to fill")
            mounted.append(folder)
        yield folders
    finally:
        for folder in mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


@pytest.fixture(scope="module")
def server(disks: tuple[Path, Path]) -> Iterator[RedisServer]:
    with RedisServer(disks[1], "--appendonly", "yes") as server:
        yield server


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, disks: tuple[Path, Path], server: RedisServer
) -> Iterator[Stack]:
    database_url = f"sqlite:///{disks[0]}/branchline.db"
    with Stack(tmp_path_factory.mktemp("stack"), database_url, server.url, **SETTINGS) as stack:
        yield stack


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """No byte is left there while the ``with`` lasts."""
    ballast = folder / "ballast"
    try:
        with open(ballast, "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(b"x" * size):
                        pass
                except OSError:
                    continue
        yield
    finally:
        ballast.unlink()


def gated(client: Client, gate: Path) -> tuple[dict, Reader]:
    """A run that has written the first half of its text, and writes the second once ``gate`` exists."""
    config = {"mode": "gate", "text": BIG, "path": str(gate)}
    run = client.ask(client.thread(), "go", worker_id="fake", config=config)["runs"][0]
    reader = Reader(client, run)
    until(lambda: reader.deltas() > 0, what="the answer has begun")
    return run, reader


def assert_whole(client: Client, run: dict, text: str) -> None:
    result = client.wait(run)
    assert (result["run"]["status"], result["run"]["attempt"]) == ("success", 1)
    assert [message["content"] for message in result["messages"]] == [text]


def ask(client: Client, thread: dict, text: str) -> int:
    """The status code of a request for a run."""
    messages = [{"role": "user", "content": text}]
    asked = {"worker_id": "echo", "input_state_id": thread["root_state_id"], "messages": messages}
    response = client.post(f"/api/threads/{thread['id']}/runs", json=asked)
    if response.status_code == 503:
        assert int(response.headers["Retry-After"]) > 0
        assert response.json()["title"] == "Database not available"
    return response.status_code


def test_a_full_disk_of_the_database_breaks_nothing(stack, client, disks, tmp_path):
    thread = client.thread()
    run, reader = gated(client, tmp_path / "gate")

    with full(disks[0]):
        # What was written before leaves some room in its log, which is used up first.
        until(lambda: ask(client, thread, BIG) == 503, what="there is no room any more")
        (tmp_path / "gate").touch()

    assert_whole(client, run, BIG * 2)
    reader.wait()
    assert list(reader.text.messages.values()) == [BIG * 2]
    assert ask(client, thread, "hello") == 202
    assert "the database is busy or away: database or disk is full" in stack.log("web")
    with closing(sqlite3.connect(disks[0] / "branchline.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_full_disk_of_redis_holds_up_no_run(client, disks, server, tmp_path):
    run, reader = gated(client, tmp_path / "gate")

    with full(disks[1]), redis.Redis.from_url(server.url) as asked:
        until(lambda: refuses(asked), what="Redis cannot write its log")
        (tmp_path / "gate").touch()
        accepted = client.ask(client.thread(), "hello")["runs"][0]
        until(lambda: client.get(f"/api/runs/{run['id']}").json()["run"]["status"] == "success")

    assert_whole(client, run, BIG * 2)
    reader.wait()
    assert list(reader.text.messages.values()) == [BIG * 2]
    assert_whole(client, accepted, "hello")


def test_a_database_that_is_locked_for_long_loses_no_run(client, disks, tmp_path):
    thread = client.thread()
    run, reader = gated(client, tmp_path / "gate")

    with closing(sqlite3.connect(disks[0] / "branchline.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        (tmp_path / "gate").touch()
        assert ask(client, thread, "hello") == 503
        other.execute("ROLLBACK")

    assert_whole(client, run, BIG * 2)
    reader.wait()
    assert list(reader.text.messages.values()) == [BIG * 2]
    assert ask(client, thread, "hello") == 202


def refuses(server: redis.Redis) -> bool:
    try:
        server.set("probe", b"x" * 4096)
    except redis.ResponseError as error:
        return "MISCONF" in str(error)
    return False
