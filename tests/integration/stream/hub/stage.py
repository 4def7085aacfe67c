"""What the scenarios of the hub share: a log with its hub, readers, and short ways to write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import gevent
import gevent.event
import orjson

from runtime import settings as settings_module
from runtime.duties import Duties
from runtime.events import Cursor, Event
from runtime.model import new_id
from runtime.stream import Batch, EventLog, Hub, Link
from runtime.stream.feed import Feed
from web.streaming.sse import encode_sse

SETTINGS = settings_module.load({})
RUN = "run-1"
AWKWARD = [
    "  leading",
    "\n",
    "\n\n",
    "",
    " ",
    "\u2028",
    "\r\n",
    '"q"',
    "\\n",
    "\U0001f469",
    "\u200d",
    "\U0001f52c",
    "\x00",
]


Scenario = Callable[[str], None]
Deliver = Callable[[str, bytes], None]

SCENARIOS: dict[str, Scenario] = {}
"""Every scenario by its name; it is given the address of a Redis."""


def scenario(function: Scenario) -> Scenario:
    """Make a function a scenario."""
    SCENARIOS[function.__name__] = function
    return function


class Stage:
    """One process's log and hub, and short ways to write."""

    def __init__(self, url: str, **stream: float) -> None:
        # Without a wake-up nothing is read for a minute, unless a scenario says otherwise.
        limits = replace(SETTINGS.stream, **{"reread": 60.0, **stream})  # type: ignore[arg-type]
        self.link = Link(url, replace(SETTINGS.redis, timeout=2.0))
        self.log = EventLog(self.link, SETTINGS.log)
        self.hub = Hub(self.log, self.link, limits, Duties())
        self.thread = new_id()
        self.number = 0

    def begin(self, *events: Event, run: str = RUN) -> None:
        self.log.begin(self.thread, run, 1, events)
        self.number = len(events)

    def append(self, *events: Event) -> None:
        self.log.append(self.thread, RUN, 1, self.number + 1, events)
        self.number += len(events)

    def write(self, text: str) -> None:
        """An event of the thread itself."""
        self.log.announce(self.thread, None, 0, [event("thread.updated", text=text)])

    @property
    def feed(self) -> Feed:
        """The feed of the thread, which has watchers."""
        [feed] = self.hub.feeds
        return feed

    def intercept(self, handle: Callable[[Deliver, str, bytes], None]) -> None:
        """Let ``handle`` decide what the hub gets of the messages that Redis publishes.

        It replaces a private attribute: no Redis loses, doubles or garbles messages on demand.
        """
        subscriber = self.hub._subscriber
        subscriber._on_message = partial(handle, subscriber._on_message)

    def watch(self, cursor: Cursor | None = None, run: str | None = None, pipe: Pipe | None = None) -> Reader:
        return Reader(self.hub, self.thread, cursor, run, pipe)


class Pipe:
    """A direct writer that accepts all, a part or nothing of each batch, as ``accepts`` says."""

    open = True

    def __init__(self, accepts: Callable[[], float] = lambda: 1) -> None:
        self.raw: list[bytes] = []
        self.offered = 0
        self.reads = gevent.event.Event()
        """Set while the reader reads what remains."""
        self.reads.set()
        self._accepts = accepts
        self._rest = b""

    def offer(self, batch: Batch) -> bool:
        assert not self._rest, "there is something before it"
        data = batch.encoded(encode_sse)
        self.offered += 1
        accepted = int(self._accepts() * len(data))
        self.raw.append(data[:accepted])
        self._rest = data[accepted:]
        return not self._rest

    def finish(self) -> None:
        if self._rest:
            self.reads.wait()
            self.raw.append(self._rest)
            self._rest = b""


class Reader:
    """A client that keeps up: what it has received so far."""

    def __init__(
        self,
        hub: Hub,
        thread: str,
        cursor: Cursor | None,
        run: str | None = None,
        pipe: Pipe | None = None,
    ) -> None:
        self.follower = hub.follow(thread, cursor, run, pipe)
        self.raw: list[bytes] = pipe.raw if pipe else []
        self.heartbeats = 0
        self.greenlet = gevent.spawn(self._read)

    def _read(self) -> None:
        for batch in self.follower:
            if batch is None:
                self.heartbeats += 1
            else:
                self.raw.append(batch.encoded(encode_sse))

    @property
    def events(self) -> list[dict[str, object]]:
        return parse(b"".join(self.raw))

    @property
    def texts(self) -> list[object]:
        return [each.get("text") for each in self.events]

    def stop(self) -> None:
        self.greenlet.kill()
        self.follower.close()


def encoded(batch: Batch | None) -> bytes:
    assert batch is not None
    return batch.encoded(encode_sse)


def parse(stream: bytes) -> list[dict[str, object]]:
    """The events of a stream; checks that id, type and number say the same."""
    found = []
    for block in stream.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = orjson.loads(fields["data"])
        assert data["type"] == fields["event"], block
        if fields["event"] != "reset":
            assert str(data["seq"]) == fields["id"].split(":")[1], block
        found.append(data)
    return found


def event(type: str, key: str = "", of: str = "", text: str = "", n: int = 0, **more: object) -> Event:
    return Event(
        type,
        orjson.dumps({"type": type, "text": text, "n": n, **more}),
        key,
        of,
        text,
        n,
    )


def created(message: str) -> Event:
    return event(
        "message.created",
        f"message.created:{message}:1",
        message,
        run_id=RUN,
        attempt=1,
        message={},
    )


def delta(message: str, n: int, text: str) -> Event:
    return event("message.delta", "", message, text, n)


def kill_pubsub(link: Link) -> None:
    link.client.client_kill_filter(_type="pubsub")
