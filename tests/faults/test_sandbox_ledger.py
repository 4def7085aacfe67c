"""What a hostile run tries, line by line, and what the kernel answers: as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runtime.sandbox import landlock, seccomp
from runtime.settings import CHECKOUT
from runtime.store import migrate
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.hostile import KINDS, write_workers
from tests.support.hostile_acts import ACTS
from tests.support.kernel import needs

pytestmark = needs(landlock.missing(), seccomp.supported())

NOBODY = 65534
NO_UIDS = "root without uids for runs"
SYSTEM_PYTHON = f"/usr/bin/python3.{sys.version_info.minor}"
MARKER = "a-secret-that-only-the-services-know-0123456789"
POSSIBLE = ("ordinary_work", "own_signals")
"""What a run must be able to do; all other acts must be refused."""
BOMB = "spawn_until_it_is_stopped"
FOR_LONG = 300
"""Seconds."""


@dataclass
class Victim:
    """An installation on which hostile runs are let loose."""

    stack: Stack
    home: Path
    redis: RedisServer
    client: Client
    abstract: str
    results: dict[str, dict[str, str]] = field(default_factory=dict)
    """Kind of worker → act → what it got."""

    def tried(self, kind: str) -> dict[str, str]:
        """What a run of that kind got for every act, beside one of the same host that means no harm."""
        if kind not in self.results:
            with self.under_way(kind, wait=FOR_LONG) as (_, sibling):
                self.results[kind] = self._try_all(kind, sibling)
        return self.results[kind]

    def ask(self, kind: str, **args: Any) -> dict:
        """Ask for a run of a hostile worker."""
        asked = self.client.ask(self.client.thread(), "go", worker_id=f"hostile_{kind}", args=args)
        return asked["runs"][0]

    @contextmanager
    def under_way(self, kind: str, **args: Any) -> Iterator[tuple[dict, dict]]:
        """A run that has begun, and its process, its parent and its folder; cancelled at the end."""
        run = self.ask(kind, **args)
        try:
            yield run, json.loads(self._first_line(run))
        finally:
            self.client.post(f"/api/runs/{run['id']}/cancel")

    def _first_line(self, run: dict) -> str:
        text = ""
        with self.client.stream(f"/api/runs/{run['id']}/events") as events:
            for event in events:
                text += event.data.get("text", "") if event.type == "message.delta" else ""
                if "\n" in text:
                    return text
        raise AssertionError(f"{self.client.wait(run)}\n{self.stack.log('pool hostile')}")

    def _try_all(self, kind: str, sibling: dict) -> dict[str, str]:
        acts = [name for name in ACTS if name != BOMB]
        ended = self.client.wait(self.ask(kind, acts=acts, **self._target(sibling)), timeout=60)
        assert ended["run"]["status"] == "success", ended["run"]["error"]
        results: dict[str, str] = json.loads(ended["messages"][0]["content"].splitlines()[1])
        return results

    def _target(self, sibling: dict) -> dict[str, Any]:
        pool = self.stack.pool_process("hostile")
        services = [process.pid for process in self.stack.processes.values()]
        return {
            "home": str(self.home),
            "checkout": str(CHECKOUT),
            "files": ["/etc/shadow", f"{Path.home()}/.bashrc", f"{CHECKOUT}/setup.cfg"],
            "pids": [pool, *services],
            "siblings": [sibling["pid"], sibling["parent"]],
            "sibling_home": sibling["home"],
            "marker": MARKER,
            "redis_port": self.redis.port,
            "abstract": self.abstract,
        }


@pytest.fixture(
    scope="module", params=["root", pytest.param(NO_UIDS, marks=pytest.mark.slow), "ordinary user"]
)
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    python, user = started_by(request.param)
    # Not in pytest's folder, through which nobody but its owner can pass.
    with ExitStack() as undo:
        root = Path(undo.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        redis = undo.enter_context(RedisServer(tmp_path_factory.mktemp("redis"), password=MARKER))
        workers = root / "workers"
        write_workers(workers, python)
        home, libraries, url = make_installation(root, user)
        stack = Stack(
            home,
            url,
            redis.url,
            ("hostile",),
            from_python=True,
            python=python,
            user=user,
            WORKERS_PATH=str(workers),
            PYTHONPATH=os.pathsep.join([str(CHECKOUT), sysconfig.get_path("purelib"), str(libraries)]),
            BRANCHLINE_SECURITY_SECRET_KEY=MARKER,
            BRANCHLINE_RUN_MAX_ATTEMPTS="1",
            BRANCHLINE_POOL_DRAIN="1",
            BRANCHLINE_SANDBOX_PROCESSES="100",
            BRANCHLINE_SANDBOX_DISK_BYTES=str(8 << 20),
            PATH=f"{Path(python).parent}:/usr/local/bin:/usr/bin:/bin",
        )
        undo.enter_context(stack)
        # The secret that an installation without BRANCHLINE_SECURITY_SECRET_KEY has.
        (home / "secret").write_text(MARKER)
        os.chmod(home / "secret", 0o600)
        os.chown(home / "secret", *2 * (user if user is not None else 0,))
        client = undo.enter_context(closing(stack.client()))
        listener = undo.enter_context(socket.socket(socket.AF_UNIX))
        abstract = f"branchline-test-{os.getpid()}"
        listener.bind(f"\0{abstract}")
        listener.listen()
        yield Victim(stack, home, redis, client, abstract)


def make_installation(root: Path, user: int | None) -> tuple[Path, Path, str]:
    """An installation of that user below ``root``: its home, further libraries, its database's URL."""
    home, libraries = root / "home", root / "libraries"
    home.mkdir()
    libraries.mkdir()
    # What the installed libraries need of a Python before 3.11.3 only.
    (libraries / "async_timeout.py").write_text("from asyncio import timeout\n")
    url = f"sqlite:///{home}/branchline.db"
    migrate.upgrade(url)
    root.chmod(0o755)
    if user is not None:
        for path in (home, *home.iterdir()):
            os.chown(path, user, user)
    home.chmod(0o700)
    return home, libraries, url


def started_by(who: str) -> tuple[str, int | None]:
    """The interpreter and the user of an installation."""
    root = os.geteuid() == 0
    if who.startswith("root") and not root:
        pytest.skip("these tests were not started by root")
    if who == "ordinary user" and not root:
        return sys.executable, None
    if who == NO_UIDS:
        return sys.executable, None
    if not os.access(SYSTEM_PYTHON, os.X_OK):
        pytest.skip(f"there is no {SYSTEM_PYTHON}, which every user can execute")
    return SYSTEM_PYTHON, (NOBODY if who == "ordinary user" else None)


@pytest.mark.parametrize("act", [name for name in ACTS if name not in (*POSSIBLE, BOMB)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_run_is_refused(victim: Victim, kind: str, act: str) -> None:
    assert victim.tried(kind)[act].startswith("refused: "), victim.tried(kind)[act]


@pytest.mark.parametrize("act", POSSIBLE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sandboxed_run_can_do_what_programs_do(victim: Victim, kind: str, act: str) -> None:
    assert victim.tried(kind)[act].startswith("done: "), victim.tried(kind)[act]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_kills_all_processes_ends_alone(victim: Victim, kind: str) -> None:
    pool = victim.stack.pool_process("hostile")
    with victim.under_way(kind, wait=FOR_LONG) as (sibling, process):
        ended = victim.client.wait(victim.ask(kind, kill_all=[1, pool]), timeout=60)["run"]
        assert ended["finished_at"] is not None
        assert victim.stack.pool_process("hostile") == pool
        os.kill(process["pid"], 0)
        assert victim.client.get(f"/api/runs/{sibling['id']}").json()["run"]["status"] == "running"


@pytest.mark.parametrize("kind", ["warm", "exec"])
def test_a_run_that_makes_ever_more_processes_ends_alone(victim: Victim, kind: str) -> None:
    bomb = victim.ask(kind, acts=[BOMB])
    other = victim.client.wait(victim.ask(kind), timeout=60)["run"]
    assert other["status"] == "success"
    ended = victim.client.wait(bomb, timeout=60)
    if "own_uid" in ended["run"]["sandbox"]["in_force"]:
        assert json.loads(ended["messages"][0]["content"].splitlines()[1]) == {BOMB: "refused: EAGAIN"}
    else:
        assert ended["run"]["error"]["message"].endswith("because it had more than 100 processes.")


@pytest.mark.parametrize("kind", ["warm", "exec"])
def test_a_run_that_fills_the_disk_ends_alone(victim: Victim, kind: str) -> None:
    ended = victim.client.wait(victim.ask(kind, fill=4 << 20), timeout=60)["run"]
    assert ended["error"]["message"].endswith("because it had more than 8388608 bytes in its folder.")


def test_nothing_that_a_run_writes_is_left(victim: Victim) -> None:
    with victim.under_way("exec", wait=FOR_LONG) as (run, process):
        Path(process["home"], "left").write_text("by the run")
    victim.client.wait(run)
    until(lambda: not os.path.exists(process["home"]), what="its folder is removed")


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_file_is_named_in_the_log_of_its_run(victim: Victim, kind: str) -> None:
    path = f"{CHECKOUT}/setup.cfg"
    ended = victim.client.wait(victim.ask(kind, open=path))["run"]
    log = victim.client.get(f"/api/runs/{ended['id']}/log").json()["items"][0]["text"]
    assert f'[sandbox] allows it with read = ["{path}"]' in log


def test_what_is_in_force_stands_on_each_run_and_in_the_metrics(victim: Victim) -> None:
    run = victim.client.wait(victim.ask("exec"))["run"]
    assert run["sandbox"]["level"] == "standard"
    assert {"files", "signals", "system_calls"} <= set(run["sandbox"]["in_force"])
    metrics = victim.client.get("/metrics").text
    for measure in run["sandbox"]["in_force"]:
        assert (
            f'branchline_sandbox{{measure="{measure}",pool="hostile",worker="hostile_exec"}} 1.0' in metrics
        )


@pytest.mark.parametrize("victim", ["ordinary user"], indirect=True)
def test_what_is_in_force_is_shown_on_the_command_line(victim: Victim) -> None:
    assert "standard: files, signals, system_calls" in victim.stack.run("check")
    doctor = subprocess.run(
        [sys.executable, "-m", "runtime", "doctor"],
        cwd=CHECKOUT,
        env=victim.stack.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "standard: files, signals, system_calls" in doctor.stdout
