"""The folder of a run is that of a later run, once nothing is left of the first."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.child import Children, protocol
from runtime.registry import Worker, load
from runtime.sandbox import landlock
from runtime.sandbox.host_sandbox import widened
from runtime.sandbox.rules import Rules

WITHIN = 60.0

pytestmark = pytest.mark.skipif(landlock.missing() is not None, reason=f"Landlock: {landlock.missing()}")

Act = Callable[[str], dict[str, Any]]


@pytest.fixture
def act(children: Children, worker: Worker) -> Act:
    """Start a run that does ``source`` and wait for its end; what it has set ``found`` to."""

    def act(source: str) -> dict[str, Any]:
        child = children.start(worker, run_id="run-1", environ={})
        line = {"type": "run", "protocol": 1, "run": {"id": "run-1", "attempt": 1}}
        child.send(json.dumps({**line, "config": {"source": source}}).encode())
        decoder, text = protocol.Decoder(), ""
        while chunk := child.read():
            text += "".join(e.text for e in decoder.feed(chunk) if isinstance(e, protocol.Delta))
        assert child.wait(WITHIN) == 0, child.read_log()
        found: dict[str, Any] = json.loads(text)
        return found

    return act


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """It executes the source that its config has, in its own folder."""
    folder = tmp_path / "made"
    folder.mkdir()
    manifest = 'id = "made"\nname = "Made"\ntype = "python"\nentrypoint_path = "made.py"\n'
    (folder / "worker.toml").write_text(manifest)
    source = """
        import json, os

        def run(run):
            home = os.environ["HOME"]
            names = {"os": os, "home": home, "found": None}
            exec(run.config["source"], names)
            status = os.stat(home)
            own = {"home": home, "uid": status.st_uid - os.getuid(), "mode": status.st_mode & 0o7777}
            yield json.dumps({**own, "found": names["found"]})
    """
    (folder / "made.py").write_text(textwrap.dedent(source))
    os.chmod(tmp_path, 0o755)  # noqa: S103 - a run's own uid must reach it
    return replace(load(folder), sandbox=Rules())


LOOK = "found = os.listdir(home)"


def homes(act: Act, count: int = 4) -> set[str]:
    """The folders of some more runs."""
    return {act(LOOK)["home"] for _ in range(count)}


def test_an_empty_folder_is_used_again_by_a_run_that_finds_it_as_new(act: Act) -> None:
    runs = [act(LOOK) for _ in range(5)]
    assert len({run["home"] for run in runs}) <= 3
    assert all((run["uid"], run["mode"], run["found"]) == (0, 0o700, []) for run in runs)


@pytest.mark.parametrize(
    "trace",
    [
        "open(home + '/left', 'w').close()",
        "os.mkdir(home + '/left')",
        "os.symlink('/', home + '/left')",
        "os.setxattr(home, 'user.left', b'x')",
    ],
    ids=["file", "folder", "link", "attribute"],
)
def test_a_folder_with_anything_left_in_it_is_nobody_elses(act: Act, trace: str) -> None:
    first = act(f"try:\n    {trace}\n    found = True\nexcept OSError as error:\n    found = str(error)")
    if first["found"] is not True:
        pytest.skip(f"a run may not leave this here: {first['found']}")
    assert first["home"] not in homes(act)


def test_a_folder_that_a_run_has_opened_to_others_is_closed_again(act: Act) -> None:
    act("try:\n    os.chmod(home, 0o777)\nexcept OSError: pass")
    assert all(act(LOOK)["mode"] == 0o700 for _ in range(4))


def test_a_folder_is_nobody_elses_when_a_process_of_its_run_was_left(act: Act) -> None:
    left = act("import signal\nif os.fork() == 0:\n    os.setsid(), os.chdir(home), signal.pause()")
    assert left["home"] not in homes(act)


@pytest.mark.parametrize("runs", ["/opt/tmp/runs", "/usr/runs"])
def test_the_system_folder_that_has_the_folders_of_runs_is_never_allowed_whole(runs: str) -> None:
    allowed = [(landlock.READ, ["/usr/bin/true", "/opt/tool", "/home/worker"])]
    wide = {path for rights, paths in widened(allowed, runs) if rights == landlock.WRITE for path in paths}
    assert wide == {"/usr", "/opt"} - {"/" + runs.split("/")[1]}
    assert {path for _, paths in widened(allowed, runs) for path in paths} >= {"/home/worker"}
