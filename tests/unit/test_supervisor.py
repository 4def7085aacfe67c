"""The supervisor of ``branchline up`` starts again what ends, and what could not be started."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from runtime.cli.supervisor import Supervisor
from runtime.testing.waiting import until


def test_a_process_that_cannot_be_made_now_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = Supervisor({}, tmp_path, grace=1)
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
