"""The supervisor of ``branchline up`` starts again what ends, and what could not be started."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any, NoReturn

import pytest

from runtime.cli.report import JsonReport, TextReport
from runtime.cli.supervisor import Supervisor
from runtime.testing.waiting import until


def test_a_process_that_cannot_be_made_now_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor({}, tmp_path, 1, TextReport())
    supervisor.add("web", f"exec touch {tmp_path / 'started'}")

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", fail)
        supervisor.start("web")
        until(lambda: not supervisor.running("web"), what="its start has failed")

    assert supervisor._restarts["web"] > 0, "it is due again"
    supervisor.start("web")
    until((tmp_path / "started").exists, what="it has started")
    until(lambda: not supervisor.running("web"), what="it has ended")


@pytest.mark.parametrize("reader", [False, True], ids=["for it", "for its output"])
def test_a_process_is_started_again_for_which_no_thread_could_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: bool
) -> None:
    supervisor = Supervisor({}, tmp_path, 1, TextReport())
    supervisor.add("web", f"touch {tmp_path / 'started'}; exec sleep 60")
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if reader is (thread.name != "web"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        supervisor.start("web")
        until(lambda: not supervisor.running("web"), what="its start has failed")

    assert supervisor._restarts["web"] > 0, "it is due again"
    supervisor.start("web")
    until((tmp_path / "started").exists, what="it has started")
    supervisor.stop()


def test_with_json_what_a_process_prints_is_an_object_with_its_name(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    supervisor = Supervisor({}, tmp_path, 1, JsonReport())
    lines = [b'{"message": "logged", "pid": 7}', b"\x1b[1mbold\x1b[0m", b"[1, 2]", b"", b"\xc3\xa4 \xe2"]
    (tmp_path / "printed").write_bytes(b"\n".join(lines) + b"\n")
    supervisor.add("web", "exec cat printed")
    supervisor.start("web")
    until(lambda: not supervisor.running("web"), what="it has ended")
    supervisor.stop()

    printed = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert printed[0] == {"message": "logged", "pid": 7, "process": "web"}
    assert [(entry["message"], entry["process"]) for entry in printed[1:]] == [
        ("\\x1b[1mbold\\x1b[0m", "web"),
        ("[1, 2]", "web"),
        ("", "web"),
        ("ä \N{REPLACEMENT CHARACTER}", "web"),
        ("web ended with exit code 0; restarting in 1 s", "up"),
    ]
