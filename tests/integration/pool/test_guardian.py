"""A guardian replaces a process that ends, and one that hangs, but none that was suspended with it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.guardian.heartbeat import Heartbeat, beat
from runtime.testing.waiting import until

GUARDIAN = """
import sys
from runtime.guardian import heartbeat
from runtime.guardian import Guardian

heartbeat.TICK, heartbeat.INTERVAL = 0.1, 0.05
CHILD = '''
import os, sys, time
from runtime.guardian import heartbeat

heartbeat.INTERVAL = 0.05
print("child", os.getpid(), file=sys.stderr, flush=True)
heartbeat.start_beating(int(sys.argv[1]))
time.sleep(600)
'''
programs = [[sys.executable, "-c", CHILD]] * 3
if sys.argv[1:]:
    programs = [["/no/such/program"], *programs]

class TestGuardian(Guardian):
    def command(self, heartbeat):
        return [*programs.pop(0), str(heartbeat)]

    def clean_up(self):
        self.log("cleaned up")

sys.exit(TestGuardian("test", 5, 3.0).run())
"""


class Guarded:
    """A guardian in a process of its own, and what it has printed."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open("w") as file:
            self.process = subprocess.Popen([sys.executable, "-c", GUARDIAN, *arguments], stderr=file)

    @property
    def text(self) -> str:
        return self._log.read_text()

    def child(self, number: int) -> int:
        """The process id of the child that was started as ``number``, from 1."""

        def children() -> list[str]:
            found = re.findall(r"child (\d+)\n", self.text)
            return found if len(found) >= number else []

        return int(until(children, what=f"child {number} has begun")[number - 1])


@pytest.fixture
def guarded(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path / "log", *getattr(request, "param", ()))
    yield guarded
    guarded.process.terminate()
    guarded.process.wait(20)


def test_a_process_that_ends_is_replaced(guarded: Guarded) -> None:
    os.kill(guarded.child(1), signal.SIGKILL)
    assert guarded.child(2) != guarded.child(1)
    assert "test: it ended with SIGKILL\ntest: cleaned up\n" in guarded.text


def test_a_process_that_is_stopped_is_killed_and_replaced(guarded: Guarded) -> None:
    os.kill(guarded.child(1), signal.SIGSTOP)
    assert guarded.child(2) != guarded.child(1)
    assert "test: it does not answer; it is killed\n" in guarded.text


def test_a_process_that_was_suspended_with_its_guardian_goes_on(guarded: Guarded) -> None:
    child, both = guarded.child(1), (guarded.process.pid, guarded.child(1))
    for pid in both:
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        guarded.process.wait(5)  # more than the silence that it allows
    for pid in both:
        os.kill(pid, signal.SIGCONT)

    os.kill(child, signal.SIGKILL)
    guarded.child(2)
    assert "does not answer" not in guarded.text


@pytest.mark.parametrize("guarded", [["no program"]], indirect=True)
def test_a_guardian_that_cannot_start_a_process_tries_again(guarded: Guarded) -> None:
    guarded.child(1)
    assert "test: no process could be made: " in guarded.text


def test_a_guardian_ends_with_its_process_when_it_is_told_to(guarded: Guarded) -> None:
    child = guarded.child(1)
    guarded.process.terminate()
    assert guarded.process.wait(20) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_beat_never_waits_and_outlives_its_parent() -> None:
    heartbeat = Heartbeat(5)
    descriptor = os.dup(heartbeat.descriptor)
    for _ in range(100_000):  # more than a pipe holds
        beat(descriptor)
    assert not heartbeat.silent
    heartbeat.close()
    beat(descriptor)
    os.close(descriptor)
