"""What a forked process does while it waits for its run."""

from __future__ import annotations

import os
import signal

import pytest

from runtime.sdk import driver


def test_a_rehearsal_leaves_nothing_behind(capfd: pytest.CaptureFixture[str]) -> None:
    descriptors = set(os.listdir("/dev/fd"))
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGIO)]

    driver.rehearse()

    after = set(os.listdir("/dev/fd"))
    assert after == descriptors
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGIO)] == handlers
    assert capfd.readouterr() == ("", "")
