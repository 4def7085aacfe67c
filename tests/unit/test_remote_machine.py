"""A machine elsewhere that drains: it is given no more runs, and hands back what it was given meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from runtime.sdk.remote import machine
from runtime.sdk.remote.api import Unreachable

CLAIM = {"run_id": "r", "token": "t", "lease": 1, "line": "{}"}


class Server:
    """The server, as far as a machine that asks for runs sees it."""

    def __init__(self, given: dict[str, Any] | None) -> None:
        self.asked = threading.Event()
        self.ended: list[str] = []
        """The offers that were ended."""
        self._given = given
        """What was given for the offer when it is ended."""
        self._over = threading.Event()

    def post(self, path: str, body: dict[str, Any], timeout: float) -> dict[str, Any]:
        """A request that waits is answered once its offer is ended."""
        if body["wait"]:
            self.asked.set()
            assert self._over.wait(10)
        else:
            self.ended.append(body["offer"])
            self._over.set()
        return {"claim": self._given}


class Execution:
    """One run, as it was handed back or executed."""

    made: list[Execution]

    def __init__(self, server: object, claim: dict[str, Any], start: Any) -> None:
        self.claim = claim
        self.handed_back = threading.Event()
        self.made.append(self)

    def hand_back(self) -> None:
        self.handed_back.set()

    def run(self) -> None:
        assert self.handed_back.wait(10)


def drain(server: Any, monkeypatch: pytest.MonkeyPatch) -> list[Execution]:
    """Drain a machine that waits for a run; what it was given."""
    monkeypatch.setattr(Execution, "made", [], raising=False)
    monkeypatch.setattr(machine, "Api", lambda *_: server)
    monkeypatch.setattr(machine, "Execution", Execution)
    drained = machine.Machine("http://server", "secret", "remote", 1, lambda *_: pytest.fail("started"))
    running = threading.Thread(target=drained.run, args=(0.0,))
    running.start()
    assert server.asked.wait(10)
    drained.drain()
    running.join(20)
    assert not running.is_alive()
    return Execution.made


def test_a_machine_that_drains_ends_its_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(None)

    assert drain(server, monkeypatch) == []
    assert len(server.ended) == 1


def test_a_run_that_was_given_meanwhile_is_handed_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    [execution] = drain(Server(CLAIM), monkeypatch)

    assert execution.claim == CLAIM
    assert execution.handed_back.is_set()


def test_a_machine_that_cannot_reach_the_server_drains_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Server):
        def post(self, path: str, body: dict[str, Any], timeout: float) -> dict[str, Any]:
            self.asked.set()
            raise Unreachable("no route")

    assert drain(Gone(None), monkeypatch) == []
