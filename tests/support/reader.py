"""A reader of a run who does what a careful client does."""

from __future__ import annotations

import threading
import time

import httpx

from runtime.testing.client import Client
from runtime.testing.sse import Received, Text


class Reader:
    """Follows a run, as a client does: from its cursor again whenever the connection breaks."""

    def __init__(self, client: Client, run: dict) -> None:
        self.events: list[Received] = []
        self.text = Text()
        self._client = client
        self._run = run
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def deltas(self) -> int:
        return sum(event.type == "message.delta" for event in self.events)

    def wait(self, within: float = 60) -> list[Received]:
        self._thread.join(within)
        assert not self._thread.is_alive(), [event.type for event in self.events][-5:]
        return self.events

    def _follow(self) -> None:
        last = None
        while not self._client.is_closed and (not self.events or self.events[-1].type != "run.completed"):
            try:
                with self._client.stream(f"/api/runs/{self._run['id']}/events", last) as events:
                    for event in events:
                        if event.type == "reset":
                            self.text = Text()
                        self.events.append(event)
                        last = event.id or last
                        self.text.apply(event)
            except httpx.TransportError:
                time.sleep(0.05)
