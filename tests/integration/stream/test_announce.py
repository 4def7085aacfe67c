"""A run is announced once, whether the web process or the pool is first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from runtime import events
from runtime.model import Run, RunStatus, State
from runtime.queue.announcer import creation_events
from tests.support.web import Client
from web.core import Core


def test_a_new_input_state_is_announced_though_the_pool_was_faster(
    core: Core, ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce = core.announcer.created

    def late(run: Run, *states: State, **more: Any) -> bool:
        claimed = replace(run, attempt=1, status=RunStatus.RUNNING)
        first = [events.run_started(claimed)]
        core.log.begin(run.thread_id, run.id, 1, first, lambda: creation_events(claimed, states[-1]))
        return announce(run, *states, **more)

    monkeypatch.setattr(core.announcer, "created", late)
    thread = ada.thread()
    asked = ada.ask(thread).json

    entries = core.log.read(thread["id"], core.log.oldest(thread["id"])).entries
    created = [orjson.loads(entry.payload) for entry in entries if entry.type == events.STATE_CREATED]
    assert [data["state_id"] for data in created] == [asked["states"][0]["id"], asked["input_state"]["id"]]
    assert created[-1]["state"]["messages"][0]["content"] == "Hello"
