"""Readers: each watches one run, on its own stream or on its thread's, whatever happens to it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import httpx

from runtime.testing.sse import Received
from tests.chaos.api import Api, Refused, Unanswered
from tests.chaos.ledger import Accepted, Ledger, Observation
from tests.chaos.plan import Watch

_PAUSE = 0.1
"""Seconds before a connection that broke is made anew."""


class Reader(threading.Thread):
    """Reads to the end of its run, going on from its cursor on another web process again and again."""

    def __init__(
        self, api: Api, ledger: Ledger, entry: Accepted, watch: Watch, index: int | None = None
    ) -> None:
        """``index``: which of the ask's runs; by chance if None."""
        super().__init__(daemon=True)
        self._api = api
        self._watch = watch
        self._chance = random.Random(watch.seed)
        self._entry = entry
        chosen = self._chance.randrange(len(entry.run_ids))
        self._index = chosen if index is None else index
        self.observation = Observation(entry.run_ids[self._index], watch.kind)
        self._last: str | None = None
        self._sequence = SequenceCheck(contiguous=watch.kind == "thread")
        ledger.watch(self.observation)

    def run(self) -> None:
        """Read until the run is over, or nobody waits for that any more."""
        time.sleep(self._watch.delay)
        follow = self._follow_thread if self._watch.kind == "thread" else self._follow_run
        try:
            while not self.observation.done:
                try:
                    follow()
                except (httpx.TransportError, Refused) as error:
                    self._broke(error)
        except Unanswered as error:
            self.observation.wrong.append(str(error))
        finally:
            self.observation.wrong += self.observation.view.wrong
            self._api.close()

    def _broke(self, error: Exception) -> None:
        self._note("", f"the connection broke: {type(error).__name__} {error}")
        if isinstance(error, Refused) and error.status != 503:
            self.observation.wrong.append(f"its stream was refused: {error}")
            self.observation.done = True
        self.observation.reconnects += 1
        self._api.go_elsewhere()
        time.sleep(_PAUSE)

    # ── a run's own stream ──────────────────────────────────────────────────

    def _follow_run(self) -> None:
        with self._stream_of_run() as events:
            if events is None:
                self.observation.wrong.append("its stream ended before run.completed")
                self.observation.done = True
                return
            for event in self._for_a_while(events):
                if event.type == "reset":
                    self._reset(event)
                    self._sequence.reset()
                    self.observation.view.clear()
                else:
                    self._apply(event)
        if self.observation.run_id in self.observation.view.ended:
            self._expect_no_more()

    def _stream_of_run(self) -> AbstractContextManager[Iterator[Received] | None]:
        if self._watch.kind == "answer" and self._last is None:
            return self._api.stream_of_answer(*self._entry.request)
        return self._api.stream(f"/api/runs/{self.observation.run_id}/events", self._last)

    def _expect_no_more(self) -> None:
        """A stream that was read to its end yields nothing more; some readers check it."""
        self.observation.done = True
        if self._chance.random() < 0.8 or (self._last or "").startswith("db-"):
            return
        with self._api.stream(f"/api/runs/{self.observation.run_id}/events", self._last) as events:
            again = [] if events is None else [event.type for event in events]
            if again and again[0] != "reset":
                self.observation.wrong.append(f"after its end came {again}")

    # ── a thread's stream ───────────────────────────────────────────────────

    def _follow_thread(self) -> None:
        if self._last is None:
            self._read_snapshot()
        if self.observation.run_id in self.observation.view.ended:
            self.observation.done = True
            return
        with self._api.stream(f"/api/threads/{self._entry.thread_id}/events", self._last) as events:
            for event in self._for_a_while(events or iter(())):
                if event.type == "reset":
                    self._reset(event)
                    self._last = None
                    return
                self._apply(event)
                if self.observation.run_id in self.observation.view.ended:
                    self.observation.done = True
                    return

    def _read_snapshot(self) -> None:
        state = self._entry.state_ids[self._index]
        answer = self._api.call("GET", f"/api/threads/{self._entry.thread_id}/snapshot?state={state}")
        if answer.status_code != 200:
            raise Refused(answer.status_code, answer.text[:300])
        snapshot = answer.json()
        self.observation.view.apply_snapshot(snapshot)
        self._last = snapshot["cursor"]
        self._sequence.start_at(snapshot["cursor"])
        ids = [item["message"]["id"] for item in snapshot["open"]]
        self._note("", f"snapshot: {snapshot['cursor']}, {len(snapshot['messages'])} messages, open {ids}")

    # ── both ────────────────────────────────────────────────────────────────

    def _for_a_while(self, events: Iterator[Received]) -> Iterator[Received]:
        """The events until the connection is dropped on purpose, if it is."""
        left = self._chance.randint(1, 60) if self._chance.random() < 0.5 else None
        for event in events:
            yield event
            left = left and left - 1
            if left == 0 and self.observation.run_id not in self.observation.view.ended:
                break
        self.observation.reconnects += self.observation.run_id not in self.observation.view.ended
        self._api.go_elsewhere()

    def _apply(self, event: Received) -> None:
        self._last = event.id or self._last
        data = event.data
        about = f"attempt {data.get('attempt')} n {data.get('n', '')} {data.get('status', '')}"
        self._note(event.id or "", f"{event.type} {about} {data.get('discarded', '')}")
        if wrong := self._sequence.check(event):
            self.observation.wrong.append(wrong)
        self.observation.view.apply(event)

    def _reset(self, event: Received) -> None:
        self._note("", f"reset: {event.data.get('reason')}")
        self.observation.resets += 1

    def _note(self, event_id: str, text: str) -> None:
        self.observation.events.append((time.time(), event_id, text))


class SequenceCheck:
    """Holds a stream to its numbers: no gap on a thread's, no duplicate and no step back on any."""

    def __init__(self, *, contiguous: bool) -> None:
        """``contiguous``: every number must come, as on a thread's stream."""
        self._contiguous = contiguous
        self._epoch: str | None = None
        self._seq = 0

    def start_at(self, cursor: str) -> None:
        """The next event follows on this cursor."""
        self._epoch, _, seq = cursor.rpartition(":")
        self._seq = int(seq)

    def reset(self) -> None:
        """After a reset, anything may come."""
        self._epoch = None

    def check(self, event: Received) -> str | None:
        """What is wrong with the id of this event, if anything."""
        epoch, _, seq = (event.id or "").rpartition(":")
        before, before_seq = self._epoch, self._seq
        if not seq.isdigit():
            return f"{event.type} has the id {event.id!r}"
        self._epoch, self._seq = epoch, int(seq)
        if before is None or (before.startswith("db-") and not epoch.startswith("db-")):
            return None
        if epoch != before:
            return f"{event.type} {event.id} came after {before}:{before_seq} without a reset"
        if int(seq) <= before_seq or (self._contiguous and int(seq) != before_seq + 1):
            return f"{event.type} {event.id} came after number {before_seq}"
        return None


def watch_all(entry: Accepted, ledger: Ledger, api: Callable[[int], Api], readers: list[Reader]) -> None:
    """Have everybody who reads along with an ask begin."""
    for watch in entry.ask.watches:
        reader = Reader(api(watch.seed), ledger, entry, watch)
        readers.append(reader)
        reader.start()
