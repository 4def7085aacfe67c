"""What a forked process does while it waits for its run."""

from __future__ import annotations

import os
import signal

import pytest

from runtime.child import forked
from runtime.sdk import driver


def test_a_rehearsal_leaves_nothing_behind(capfd: pytest.CaptureFixture[str]) -> None:
    descriptors = set(os.listdir("/dev/fd"))
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGIO)]

    driver.rehearse()

    after = set(os.listdir("/dev/fd"))
    assert after == descriptors
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGIO)] == handlers
    assert capfd.readouterr() == ("", "")


def test_a_rehearsal_that_fails_keeps_no_process_from_waiting_for_its_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BRANCHLINE_RUN_ID", "")
    descriptors = set(os.listdir("/dev/fd"))
    tried: list[object] = []

    def fail(*arguments: object) -> None:
        tried.append(arguments)
        raise RuntimeError("the worker has changed this")

    monkeypatch.setattr(driver, "Run", fail)

    forked._preload()

    assert len(tried) == 1
    assert set(os.listdir("/dev/fd")) == descriptors
