"""The version of its worker that a run names is the one whose code has run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.child import Children
from runtime.child.host_process import HostProcess
from runtime.registry import load
from runtime.registry.digest import FolderDigest, digest_of
from runtime.settings import load as load_settings
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack

PYTHON = 'def run(run):\n    return "{answer}"\n'
WAITS = """import pathlib, time
while not (pathlib.Path(__file__).parent / "go").exists():
    time.sleep(0.01)
def run(run):
    return "x"
"""
SHELL = """#!/bin/sh
read line
echo '{{"type":"delta","text":"{answer}"}}'
echo '{{"type":"done"}}'
"""
WORKERS = {
    "python": ('type = "python"\nentrypoint_path = "worker.py"', "worker.py", PYTHON),
    "exec": ('type = "exec"\ncommand = ["./worker.sh"]', "worker.sh", SHELL),
}


def write(folder: Path, kind: str, answer: str) -> str:
    """A worker that answers that; its digest."""
    manifest, name, code = WORKERS[kind]
    folder.mkdir(exist_ok=True)
    (folder / "worker.toml").write_text(f'id = "my_{kind}"\nname = "Mine"\n{manifest}\n')
    (folder / name).write_text(code.format(answer=answer))
    (folder / name).chmod(0o755)
    return digest_of(folder)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workers = tmp_path_factory.mktemp("workers")
    for kind in WORKERS:
        write(workers / kind, kind, "first")
    return workers


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, workers: Path
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    database_url = f"sqlite:///{home}/branchline.db"
    more = {"WORKERS_PATH": str(workers)}
    with Stack(home, database_url, stack_redis.url, pools=("python", "exec"), **more) as stack:
        yield stack


def ran(client: Client, kind: str) -> tuple[str, str]:
    """What a run answers, and the version that it names."""
    ended = client.wait(client.ask(client.thread(), "Hello", worker_id=f"my_{kind}")["runs"][0])
    assert ended["run"]["status"] == "success", ended
    return ended["messages"][0]["content"], ended["run"]["worker_digest"]


@pytest.mark.parametrize("kind", WORKERS)
def test_a_run_names_the_version_of_the_code_that_ran(
    stack: Stack, client: Client, workers: Path, kind: str
) -> None:
    versions = {"first": digest_of(workers / kind)}
    assert ran(client, kind) == ("first", versions["first"])

    versions["second"] = write(workers / kind, kind, "second")
    answer, named = ran(client, kind)

    assert named == versions[answer]
    assert kind == "python" or answer == "second"


def test_a_folder_that_changes_while_it_is_imported_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "python"
    write(folder, "python", "x")
    (folder / "worker.py").write_text(WAITS)
    worker = load(folder)
    hosts = []
    try:
        hosts.append(HostProcess(worker, os.environ, None, None))
        (folder / "go").touch()
        assert not hosts[0].import_worker()
        hosts.append(HostProcess(worker, os.environ, None, None))
        assert hosts[1].import_worker()
    finally:
        for host in hosts:
            host.close()
            host.wait()


def test_the_digest_of_a_folder_follows_each_change(tmp_path: Path) -> None:
    folder = FolderDigest(tmp_path)
    for content in ("a", "b", "b", "c"):
        (tmp_path / "worker.py").write_text(content)
        assert folder.now() == digest_of(tmp_path)


def test_a_worker_that_writes_into_its_own_folder_runs_nevertheless(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "python"
    write(folder, "python", "x")
    code = "import pathlib, time\npathlib.Path(__file__).with_name('log').write_text(str(time.time_ns()))\n"
    (folder / "worker.py").write_text(code + PYTHON.format(answer="x"))
    with (folder / "worker.toml").open("a") as manifest:
        manifest.write('[sandbox]\nwrite = ["."]\n')
    children = Children(load_settings({"BRANCHLINE_HOME": str(tmp_path / "home")}))
    try:
        children.warm(load(folder))
    finally:
        children.close()
    assert "changes whenever it is imported" in caplog.text
