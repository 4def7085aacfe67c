"""Loops that no supervisor holds: what nobody expected is logged, and leaves nothing silently dead."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from runtime.child.egress import Gateway, gateway
from runtime.dispatch.after_commit import after_commit
from runtime.guardian.heartbeat import EXIT_CODE
from runtime.testing.waiting import until
from web.http import ndjson

UNABLE_TO_BEAT = """
import time
from runtime.guardian import heartbeat
def beat(_):
    raise ValueError("nobody expected this")
heartbeat.beat = beat
heartbeat.start_beating(0)
time.sleep(20)
"""


def test_what_fails_after_a_commit_is_logged_and_its_caller_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def fail(text: str) -> None:
        raise ValueError(text)

    assert after_commit(fail, "nobody expected this")
    assert "nobody expected this" in caplog.text


def test_a_body_that_cannot_be_read_does_not_seem_to_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def pieces(*_: object) -> Iterator[bytes]:
        yield b'{"type":"done"}\n'
        raise KeyError("nobody expected this")

    monkeypatch.setattr(ndjson, "body_as_it_comes", pieces)

    with pytest.raises(KeyError, match="nobody expected this"):
        list(ndjson.read_batches(Request(EnvironBuilder().get_environ())))


def test_a_process_that_cannot_beat_any_more_ends() -> None:
    command = [sys.executable, "-c", UNABLE_TO_BEAT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)

    assert done.returncode == EXIT_CODE
    assert "nobody expected this" in done.stderr


UNHANDLED = """
if {patched}:
    from gevent import monkey
    monkey.patch_all()
import threading
from runtime.logs import configure
from runtime.settings import load
configure(load({{}}))
def fail(where):
    raise ValueError(where + "\\x1b[2J\\n12:00:00 ERROR   runtime: forged")
thread = threading.Thread(target=fail, args=["a thread"])
thread.start()
thread.join()
if {patched}:
    import gevent
    gevent.spawn(fail, "a greenlet").join()
fail("the process")
"""


@pytest.mark.parametrize("patched", [False, True], ids=["with threads", "under gevent"])
def test_what_nothing_handles_is_in_the_log_with_its_control_characters_shown(patched: bool) -> None:
    command = [sys.executable, "-c", UNHANDLED.format(patched=patched)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    for where in ("a thread", "a greenlet", "the process") if patched else ("a thread", "the process"):
        assert f"\n  ValueError: {where}\\x1b[2J\n" in done.stderr
    assert "\x1b" not in done.stderr
    assert "\n12:00:00 ERROR   runtime: forged" not in done.stderr


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """Where a gateway listens."""
    listener = socket.create_server(("127.0.0.1", 0))
    made = Gateway(listener, os.getpid(), None, lambda: ())
    yield listener.getsockname()
    made.close()


def answer(address: tuple[str, int]) -> bytes:
    """What is answered to a request there."""
    with socket.create_connection(address, 10) as connection:
        connection.sendall(b"GET http://example.com/ HTTP/1.1\r\nhost: example.com\r\n\r\n")
        try:
            return connection.makefile("rb").readline()
        except ConnectionError:
            return b""


@pytest.mark.parametrize("where", [(gateway.owners, "owner"), (threading.Thread, "start")])
def test_a_gateway_accepts_the_next_connection_whatever_one_brings_about(
    address: tuple[str, int],
    where: tuple[object, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    assert b"403" in answer(address)  # it accepts
    with monkeypatch.context() as patch:
        patch.setattr(*where, fail)
        assert answer(address) == b""
    until(lambda: "can't start new thread" in caplog.text, what="it is logged")
    assert b"403" in answer(address)
