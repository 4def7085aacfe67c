"""Calls of one attempt: what happens where a service is away while another worker is called."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runtime.child import protocol
from runtime.errors import StoreUnavailable
from runtime.pool.attempt import Attempt
from runtime.pool.calls import Calls
from runtime.pool.transcript import Transcript
from runtime.store import runs
from tests.support.attempt import INCARNATION, LEASE
from tests.support.web import Client
from web.core import Core


class Child:
    """Keeps what it is sent."""

    listens = True

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, line: bytes) -> None:
        self.sent.append(orjson.loads(line))


class Host:
    """A pool process whose other pools execute what is called."""

    def reserve(self, pool: str, *, waits: bool) -> bool:
        return False

    def release(self) -> None:
        pass

    def begin(self, run: object, *, reserved: bool) -> None:
        pass

    def calls_changed(self) -> None:
        pass


def test_a_call_waits_for_a_database_that_is_away(
    ada: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = ada.ask(ada.thread()).json["runs"][0]["id"]
    claim = core.database.engine.claim(run_id, INCARNATION, LEASE, {"": 200}, isolated=True)
    assert claim is not None
    attempt = Attempt(claim, Transcript(claim.run, claim.first_position, core.settings.run), float("inf"))
    attempt.child = child = Child()  # type: ignore[assignment]
    refresh, away = core.catalogue.refresh, [True, True]

    def fails_twice() -> None:
        if away:
            away.pop()
            raise StoreUnavailable
        refresh()

    monkeypatch.setattr(core.catalogue, "refresh", fails_twice)

    Calls(attempt, core, None, Host()).handle(protocol.Call("a", "echo", []), child.send)  # type: ignore[arg-type]

    [called] = child.sent
    assert (called["type"], away) == ("called", [])
    assert core.database.read(runs.find, called["run_id"]).parent_run_id == run_id
