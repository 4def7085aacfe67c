"""The policy of a sandbox: what is in force on which machine, and what the author of a worker is told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.child.sandboxing import Sandboxing
from runtime.registry import discover
from runtime.sandbox import programs, refusals
from runtime.sandbox.machine import Machine
from runtime.sandbox.policy import (
    FILES,
    OWN_UID,
    PROCESSES,
    SIGNALS,
    SYSTEM_CALLS,
    Bounds,
    Place,
    Policy,
    Subject,
)
from runtime.sandbox.rules import Level, Rules
from runtime.settings import CHECKOUT, load

MACHINE = Machine(
    landlock=7,
    no_landlock=None,
    signals=True,
    no_system_calls=None,
    root=False,
    no_uids="only a pool that root has started can give uids",
)
NO_LANDLOCK = replace(MACHINE, landlock=0, no_landlock="its kernel has none", signals=False)
OLD_LANDLOCK = replace(MACHINE, landlock=3, signals=False)
NO_SECCOMP = replace(MACHINE, no_system_calls="it is not known")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    home = tmp_path / "home"
    home.mkdir()
    return Place(CHECKOUT, (home,), Bounds(1 << 30, 512), "/usr/bin:/bin")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "worker"
    folder.mkdir()
    return folder


def decide(folder: Path, place: Place, machine: Machine = MACHINE, **rules: object) -> Policy:
    return Policy(Subject(Rules(**rules), folder, ()), place, machine)  # type: ignore[arg-type]


def test_everything_that_the_machine_can_is_in_force(folder: Path, place: Place) -> None:
    policy = decide(folder, place)
    assert policy.in_force.measures == (FILES, SIGNALS, SYSTEM_CALLS)
    assert policy.in_force.missing.keys() == {OWN_UID, PROCESSES}
    assert any(folder.is_relative_to(path) for path in policy.read)
    assert policy.write == ()
    assert policy.refusal is None


@pytest.mark.parametrize(
    ("machine", "missing"),
    [(NO_LANDLOCK, {FILES, SIGNALS}), (OLD_LANDLOCK, {SIGNALS}), (NO_SECCOMP, {SYSTEM_CALLS})],
)
def test_what_a_machine_cannot_do_is_said_and_refused_where_it_is_required(
    folder: Path, place: Place, machine: Machine, missing: set[str]
) -> None:
    policy = decide(folder, place, machine)
    assert missing <= policy.in_force.missing.keys()
    assert policy.refusal is None
    refusal = decide(folder, place, machine, required=True).refusal
    assert refusal is not None and all(name in refusal for name in missing)


def test_elsewhere_than_on_linux_there_is_none_and_that_is_said(folder: Path, place: Place) -> None:
    why = "only Linux has a sandbox"
    elsewhere = replace(
        MACHINE, landlock=0, no_landlock=why, signals=False, no_system_calls=why, no_uids=why, linux=False
    )
    policy = decide(folder, place, elsewhere)
    assert (policy.in_force.level, policy.plan("/folder"), policy.refusal) == (Level.NONE, None, None)
    assert policy.in_force.describe() == f"none ({why})"
    assert decide(folder, place, elsewhere, required=True).refusal is not None


def test_without_a_sandbox_there_is_no_plan(folder: Path, place: Place) -> None:
    policy = decide(folder, place, level=Level.NONE)
    assert policy.in_force.measures == ()
    assert policy.plan("/folder") is None


def test_a_run_gets_a_uid_where_root_can_give_one_and_it_need_not_write_elsewhere(
    folder: Path, place: Place
) -> None:
    root = replace(MACHINE, root=True, no_uids=None)
    given = decide(Path("/usr/share"), replace(place, checkout=Path("/usr/share")), root)
    if given.in_force.missing.get(OWN_UID, "").endswith("is closed to other users"):
        pytest.skip("this Python is closed to other users")
    assert OWN_UID in given.in_force.measures and PROCESSES in given.in_force.measures
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    assert decide(closed, place, root).in_force.missing[OWN_UID].endswith("is closed to other users")


def test_no_worker_may_write_where_the_data_are(folder: Path, place: Place) -> None:
    refusal = decide(folder, place, write=(str(place.private[0].parent),)).refusal
    assert refusal is not None and str(place.private[0].parent) in refusal


def test_a_folder_that_contains_the_data_is_opened_but_for_them(folder: Path, place: Place) -> None:
    home = place.private[0]
    (home / "secret").touch()
    policy = decide(folder, place, read=(str(home.parent),))
    assert str(folder) in policy.read
    assert not any(Path(path).is_relative_to(home) or home.is_relative_to(path) for path in policy.read)


def test_no_file_of_a_database_is_opened_with_the_folder_that_it_is_in(tmp_path: Path) -> None:
    for name in ("b.db", "b.db-wal", "b.db-shm", "other"):
        (tmp_path / name).touch()
    settings = load({"DATABASE_URL": f"sqlite:///{tmp_path}/b.db", "BRANCHLINE_HOME": str(tmp_path / "home")})
    echo = discover([CHECKOUT / "workers"]).get("echo")
    worker = replace(echo, sandbox=Rules(read=(str(tmp_path),)))
    opened = Sandboxing(settings, {}).policy(worker).read
    assert [path for path in opened if path.startswith(str(tmp_path))] == [str(tmp_path / "other")]


def test_what_is_below_an_allowed_folder_needs_no_rule() -> None:
    paths = ["/usr/lib", "/usr", "/usr-local/x", "/a/b/c", "/a/b", "/a/b-c", "/usr"]
    assert set(programs.outermost(paths)) == {"/usr", "/usr-local/x", "/a/b", "/a/b-c"}
    assert programs.outermost(["/", "/usr"]) == ("/",)


def test_an_interpreter_of_a_script_is_what_its_first_line_names(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_bytes(b"#!/bin/sh -e\n")
    assert Path("/bin/sh") in list(programs.with_interpreters(script))
    loop = tmp_path / "loop"
    loop.write_bytes(b"#!" + os.fsencode(loop) + b"\n")
    assert list(programs.with_interpreters(loop)) == [loop]


@pytest.mark.parametrize(
    "text",
    [
        "PermissionError: [Errno 13] Permission denied: '{}'",
        "Error: EACCES: permission denied, open '{}'",
        "cat: {}: Permission denied",
        "sh: 1: cannot create {}: Permission denied",
        "open {}: permission denied",
    ],
)
def test_a_refused_path_is_named_with_the_line_that_allows_it(folder: Path, place: Place, text: str) -> None:
    told = refusals.explain(text.format("/srv/models/a"), decide(folder, place))
    assert told is not None and 'read = ["/srv/models/a"]' in told
    told = refusals.explain(text.format(folder / "notes"), decide(folder, place))
    assert told is not None and f'write = ["{folder / "notes"}"]' in told
    told = refusals.explain(text.format(place.private[0] / "secret"), decide(folder, place))
    assert told is not None and "nothing allows it" in told


def test_where_no_path_is_named_it_is_told_what_was_allowed(folder: Path, place: Place) -> None:
    told = refusals.explain("Permission denied (os error 13)", decide(folder, place, write=("notes",)))
    assert told is not None and str(folder) in told


def test_what_is_no_refusal_is_not_explained(folder: Path, place: Place) -> None:
    assert refusals.explain("ValueError: as you asked", decide(folder, place)) is None
    assert refusals.explain("cat: /x: Permission denied", decide(folder, place, level=Level.NONE)) is None
