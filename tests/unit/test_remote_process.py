"""A worker as a process on a machine elsewhere."""

from __future__ import annotations

from pathlib import Path

from runtime.sdk.remote.process import Process


def test_a_worker_that_reads_nothing_keeps_nobody_waiting_and_can_be_stopped(tmp_path: Path) -> None:
    process = Process(["sleep", "600"], tmp_path, {"PATH": "/bin:/usr/bin"})
    try:
        process.send(b"x" * (1 << 20))  # more than a pipe holds
        process.send(b"cancel")
    finally:
        process.stop(0.0)
        process.close()

    assert process.exit(0) is not None


def test_lines_are_read_in_the_order_in_which_they_were_sent(tmp_path: Path) -> None:
    process = Process(["head", "-n", "2"], tmp_path, {"PATH": "/bin:/usr/bin"})
    process.send(b"one")
    process.send(b"two\n")

    said = b""
    while chunk := process.read():
        said += chunk

    assert said == b"one\ntwo\n"
    assert process.exit(10) is None
    process.close()
