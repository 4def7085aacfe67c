"""A run's processes are held to their worker's memory together, where control groups can be made.

The tests that need some are told by BRANCHLINE_TEST_CGROUP of a group (cgroup v2, with
the memory controller) in which they may make others, and move this process among them.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from runtime.child import Children, control_groups, host_process
from runtime.child.control_groups import ControlGroup, DelegatedGroup, NotDelegated
from runtime.errors import ChildFailed
from runtime.pool.outcome import exit_error
from runtime.registry import Worker, load
from runtime.settings import Settings
from runtime.testing.waiting import until

LIMIT = 64 << 20
GREEDY = """
    for _ in range(4):
        if os.fork() == 0:
            data = b"x" * (24 << 20)
            time.sleep(60)
    for _ in range(4):
        if os.wait()[1]:
            os._exit(3)
    """
"""No process of it has more than its share."""
DAEMON = """
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open(sys.argv[1], "w").write(str(os.getpid()))
            time.sleep(3600)
        os._exit(0)
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    """


@pytest.fixture
def above(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory that has what a delegated group has; this process takes itself to be in a group of it."""
    above = tmp_path / "cgroup" / "above"
    (above / "pool").mkdir(parents=True)
    (tmp_path / "cgroup" / "cgroup.controllers").touch()
    (tmp_path / "own").write_text("0::/above/pool\n")
    # The kernel's paths, which are private: nobody but a test changes them.
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "_OWN", tmp_path / "own")
    try:
        os.setxattr(above, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"this file system keeps no marks: {error.strerror}")
    return above


def test_a_group_is_made_beside_the_pools_own(above: Path) -> None:
    group = DelegatedGroup().make(LIMIT)

    assert group.path.parent == above
    assert (above / "cgroup.subtree_control").read_text() == "+memory"
    assert (group.path / "memory.max").read_text() == str(LIMIT)


def test_groups_of_others_are_left_alone(above: Path) -> None:
    for name in ("branchline-pool-python", "branchline-", f"branchline-{os.getpid()}-1"):
        (above / name).mkdir()

    DelegatedGroup()
    assert len([*above.glob("branchline-*")]) == 3


def test_a_group_is_left_alone_when_it_is_not_delegated(above: Path, tmp_path: Path) -> None:
    os.removexattr(above, "user.delegate")
    with pytest.raises(NotDelegated, match="is not delegated"):
        DelegatedGroup()
    (tmp_path / "own").write_text("0::/\n")
    with pytest.raises(NotDelegated, match="is not delegated"):
        DelegatedGroup()
    (tmp_path / "cgroup" / "cgroup.controllers").unlink()
    with pytest.raises(NotDelegated, match="no cgroup v2"):
        DelegatedGroup()
    assert [path.name for path in above.iterdir()] == ["pool"]


def test_a_group_is_not_used_when_it_cannot_limit_memory(above: Path) -> None:
    (above / "cgroup.subtree_control").mkdir()  # cannot be written
    with pytest.raises(NotDelegated, match="memory cannot be limited"):
        DelegatedGroup()


def test_no_group_is_left_when_a_start_fails(
    above: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = Children(settings)
    ended: list[Path] = []

    def none_left() -> NoReturn:
        raise ChildFailed("No pipe could be made.")

    with closing(children), monkeypatch.context() as short:
        short.setattr(ControlGroup, "remove", lambda group: ended.append(group.path))
        short.setattr(host_process, "pipes", none_left)
        with pytest.raises(ChildFailed):
            children.start(program(tmp_path / "w", "", LIMIT), run_id="r", environ={})
    assert [path.parent for path in ended] == [above]


def test_a_group_that_cannot_be_limited_is_removed(above: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = DelegatedGroup()

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(OSError, match="No space"):
        made.make(LIMIT)
    assert [path.name for path in above.iterdir() if path.is_dir()] == ["pool"]


@pytest.mark.parametrize(("events", "oom_killed"), [("oom 3\noom_kill 0\n", False), ("oom_kill 1\n", True)])
def test_a_group_counts_as_oom_killed_when_a_process_was_killed(
    tmp_path: Path, events: str, oom_killed: bool
) -> None:
    (tmp_path / "memory.events").write_text(events)

    assert ControlGroup(tmp_path).oom_killed() is oom_killed


@pytest.mark.parametrize(("code", "oom_killed"), [(-9, True), (3, True), (3, False)])
def test_a_run_reports_that_its_worker_used_too_much_memory(
    tmp_path: Path, code: int, oom_killed: bool
) -> None:
    worker = program(tmp_path / "w", "", LIMIT)

    error = exit_error(code, oom_killed, worker.limits)

    assert error is not None
    assert error.code == "worker_crashed"
    assert ("used more than the 64 MiB of memory that it may" in error.message) is oom_killed


# ── in groups of the kernel ─────────────────────────────────────────────────


@pytest.fixture(scope="module")
def delegated() -> Iterator[Path]:
    """A group that is delegated to this process, which is in a group of it."""
    named = os.environ.get("BRANCHLINE_TEST_CGROUP")
    if named is None:
        pytest.skip("BRANCHLINE_TEST_CGROUP names no control group in which others may be made")
    before = Path("/sys/fs/cgroup") / Path("/proc/self/cgroup").read_text().split("0::/")[1].strip()
    Path(named, "cgroup.subtree_control").write_text("+memory")
    above = Path(named) / f"branchline-test-{uuid.uuid4().hex[:8]}"
    pool = above / "pool"
    pool.mkdir(parents=True)
    os.setxattr(above, "user.delegate", b"1")
    (pool / "cgroup.procs").write_text(str(os.getpid()))
    yield above
    (before / "cgroup.procs").write_text(str(os.getpid()))
    pool.rmdir()
    above.rmdir()


@pytest.fixture
def children(delegated: Path, settings: Settings) -> Iterator[Children]:
    children = Children(settings)
    yield children
    children.close()
    assert groups_of_runs(delegated) == []


def groups_of_runs(delegated: Path) -> list[Path]:
    return [path for path in delegated.iterdir() if path.is_dir() and path.name != "pool"]


def program(folder: Path, code: str, limit: int | None) -> Worker:
    """A worker of type exec that executes ``code``."""
    folder.mkdir()
    limits = f"[limits]\nmemory_bytes = {limit}\n" if limit else ""
    command = f'["{sys.executable}", "code.py", "{folder / "pid"}"]'
    (folder / "worker.toml").write_text(
        f'id = "w"\nname = "W"\ndescription = "."\ntype = "exec"\ncommand = {command}\n{limits}'
    )
    (folder / "code.py").write_text("import os, sys, time\n" + textwrap.dedent(code))
    return load(folder)


@pytest.mark.parametrize(("limit", "group"), [(LIMIT, True), (None, False)])
def test_a_child_is_in_a_group_where_its_worker_limits_it(
    children: Children, delegated: Path, tmp_path: Path, limit: int | None, group: bool
) -> None:
    code = "print(open('/proc/self/cgroup').read(), flush=True)"
    child = children.start(program(tmp_path / "w", code, limit), run_id="r", environ={})

    where = child.read().decode().split("0::")[1].strip()
    assert Path("/sys/fs/cgroup" + where).parent == delegated
    assert Path(where).name.startswith("branchline-") is group
    assert child.wait(20) == 0
    child.close()
    assert groups_of_runs(delegated) == []


def test_processes_that_use_too_much_together_are_ended(children: Children, tmp_path: Path) -> None:
    child = children.start(program(tmp_path / "w", GREEDY, LIMIT), run_id="r", environ={})

    assert child.wait(60) not in (0, None)
    assert child.oom_killed
    child.close()


def test_background_processes_end_with_their_runs_group(children: Children, tmp_path: Path) -> None:
    child = children.start(program(tmp_path / "w", DAEMON, LIMIT), run_id="r", environ={})

    assert child.wait(20) == 0
    assert not child.oom_killed
    child.close()
    pid = int((tmp_path / "w" / "pid").read_text())
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_the_groups_of_a_dead_pool_are_removed_by_the_next(delegated: Path) -> None:
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    left = delegated / f"branchline-{dead.pid}-1"
    left.mkdir()
    with subprocess.Popen(["sleep", "3600"]) as process:
        (left / "cgroup.procs").write_text(str(process.pid))
        try:
            DelegatedGroup()
            assert process.wait(10) == -9
        finally:
            process.kill()
    assert not left.exists()
