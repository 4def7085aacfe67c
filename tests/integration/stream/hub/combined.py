"""One stream that carries several threads."""

from __future__ import annotations

import random
from collections.abc import Mapping

import gevent
import gevent.event
import orjson

from runtime.events import Cursor
from runtime.model import new_id
from runtime.stream import Hub, Notices
from runtime.testing.waiting import until
from tests.integration.stream.hub.stage import (
    Pipe,
    Reader,
    Stage,
    event,
    scenario,
)


class CombinedReader(Reader):
    """A client of one stream that carries several threads."""

    def __init__(self, hub: Hub, cursors: Mapping[str, Cursor], pipe: Pipe | None = None) -> None:
        self.follower = hub.follow_all("mine", cursors, pipe)
        self.raw = pipe.raw if pipe else []
        self.heartbeats = 0
        self.greenlet = gevent.spawn(self._read)

    @property
    def events(self) -> list[dict[str, object]]:
        found = []
        for block in b"".join(self.raw).decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            found.append(orjson.loads(fields["data"]))
        return found

    def texts_of(self, thread: str) -> list[object]:
        return [each["text"] for each in self.events if each.get("thread_id") == thread]


@scenario
def a_combined_stream_has_every_thread_and_hint_in_order(url: str) -> None:
    stage = Stage(url, reread=0.2, heartbeat=0.1, ring=4)
    notices = Notices(stage.link)
    chance = random.Random(7)
    stage.intercept(lambda deliver, *message: deliver(*message) if chance.random() < 0.8 else None)
    threads = [new_id() for _ in range(8)]
    cursors = {thread: stage.log.cursor(thread) for thread in threads}
    pipes = [Pipe(accepts=lambda: chance.choice((0, 0.3, 1, 1, 1))) for _ in range(10)]
    readers = [CombinedReader(stage.hub, cursors, pipe) for pipe in pipes] + [
        CombinedReader(stage.hub, cursors)
    ]
    written: dict[str, list[str]] = {thread: [] for thread in threads}
    while sum(map(len, written.values())) < 300 or not any(pipe.offered for pipe in pipes):
        thread = chance.choice(threads)
        written[thread].append(str(len(written[thread])))
        text = event("thread.updated", text=written[thread][-1], thread_id=thread)
        stage.log.announce(thread, None, 0, [text])
        for pipe in pipes:
            (pipe.reads.clear if chance.random() < 0.3 else pipe.reads.set)()
    for pipe in pipes:
        pipe.reads.set()
    for reader in readers:
        until(lambda reader=reader: all(len(reader.texts_of(one)) == len(written[one]) for one in threads))
        assert all(reader.texts_of(one) == written[one] for one in threads)

    stage.intercept(lambda deliver, *message: deliver(*message))

    def all_are_told() -> bool:
        notices.to_workspace("mine", {"type": "run.changed"})  # before anybody listens it is lost
        return all(reader.events[-1] == {"type": "run.changed"} for reader in readers)

    until(all_are_told)
    assert stage.hub.stats()[:2] == (len(readers), len(threads))
    for reader in readers:
        reader.stop()
    assert stage.hub.stats()[:2] == (0, 0)
    assert not stage.hub.hint_feeds


@scenario
def a_thread_that_ends_leaves_the_others_of_its_stream(url: str) -> None:
    stage = Stage(url)
    kept, deleted, unknown = (new_id() for _ in range(3))
    cursors = {kept: stage.log.cursor(kept), deleted: stage.log.cursor(deleted), unknown: Cursor("other", 3)}
    reader = CombinedReader(stage.hub, cursors)
    until(lambda: [one["type"] for one in reader.events] == ["reset"])
    assert reader.events[0]["thread_id"] == unknown
    stage.log.announce(deleted, None, 0, [event("thread.deleted")])
    until(lambda: reader.events[-1]["type"] == "thread.deleted")
    assert [feed.thread_id for feed in stage.hub.feeds] == [kept]
    stage.log.announce(kept, None, 0, [event("thread.updated", text="still")])
    until(lambda: reader.texts[-1] == "still")
