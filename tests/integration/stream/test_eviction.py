"""A Redis that evicts single keys of a thread: whoever reads is reset, and never has a wrong text."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import orjson
import pytest

from runtime.errors import LogLost
from runtime.events import Cursor, Event
from runtime.model import new_id
from runtime.settings import Settings
from runtime.stream import EventLog, Link, OpenMessage
from runtime.stream.keys import Keys

RUN = "run-1"
PIECES = ("Once ", "upon ", "ä ", "\U0001f469 ", "time.")
MESSAGES = ("first", "second")
KINDS = ("head", "log", "open", "run", "partial:first", "partial:second")


def name_of(kind: str, thread: str) -> str:
    """The key of a kind."""
    kind, _, message = kind.partition(":")
    match kind:
        case "partial":
            return Keys().partial(thread, message)
        case "run":
            return Keys().run(thread, RUN)
        case _:
            return str(getattr(Keys(), kind)(thread))


def event(type: str, key: str = "", of: str = "", text: str = "", n: int = 0, content: str = "") -> Event:
    about = {"type": type, "message_id": of, "text": text, "n": n}
    payload = orjson.dumps({**about, "run_id": RUN, "attempt": 1, "message": {"id": of, "content": content}})
    return Event(type, payload, f"{type}:{key}" if type != "message.delta" else "", of, text, n)


class Writer:
    """An attempt, as the relay writes its events: it reopens the log where that has lost something."""

    def __init__(self, log: EventLog, thread: str) -> None:
        self._log = log
        self._thread = thread
        self._appended = 0
        self.texts: dict[str, str] = {}
        """What was written so far of each message."""
        self._numbers: dict[str, int] = {}
        self.committed: dict[str, str] = {}
        """What the database has."""

    def steps(self) -> Iterator[None]:
        """Write a run from its beginning to its end; yields after each step."""
        creation = [event("run.queued", "0")]
        self._log.announce(self._thread, RUN, 0, creation)
        yield
        self._log.begin(self._thread, RUN, 1, [event("run.started", "1")], lambda: creation)
        self._appended = 1
        yield
        for message in MESSAGES:
            self._append([event("message.created", f"{message}:1", message)], message)
            yield
            for text in PIECES:
                self._append([event("message.delta", of=message, text=text, n=self._numbers[message] + 1)])
                yield
            self.committed[message] = self.texts[message]
            content = self.texts[message]
            self._append([event("message.completed", f"{message}:1", message, content=content)])
            yield
        self._append([event("run.completed")])
        yield
        self._log.announce(self._thread, RUN, 1, [event("run.completed")])  # the reaper, to be sure
        yield

    def _append(self, batch: list[Event], begun: str = "") -> None:
        try:
            self._log.append(self._thread, RUN, 1, self._appended + 1, batch)
        except LogLost:
            self._log.reopen(self._thread, RUN, 1, self._appended, self._open(), list(self.committed))
            self._log.append(self._thread, RUN, 1, self._appended + 1, batch)
        self._appended += len(batch)
        for one in batch:
            if begun:
                self.texts[begun], self._numbers[begun] = "", 0
            if one.type == "message.delta":
                self.texts[one.message_id] += one.text
                self._numbers[one.message_id] = one.n

    def _open(self) -> Sequence[OpenMessage]:
        return [
            OpenMessage(message, RUN, 1, {"id": message, "content": ""}, text, self._numbers[message])
            for message, text in self.texts.items()
            if message not in self.committed
        ]


@dataclass
class Reader:
    """Begins with a snapshot, follows the log, and begins anew when it is reset."""

    log: EventLog
    thread: str
    writer: Writer
    cursor: Cursor = field(init=False)
    texts: dict[str, str] = field(init=False)
    numbers: dict[str, int] = field(init=False)
    seen: set[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self._load()

    def _load(self) -> None:
        self.cursor = self.log.cursor(self.thread)
        opened = self.log.open_messages(self.thread)
        found = [one for one in opened if one.message_id not in self.writer.committed]
        self.texts = dict(self.writer.committed) | {one.message_id: one.text for one in found}
        self.numbers = {one.message_id: one.n for one in found}
        self.seen = set()

    def read(self) -> None:
        """Follow the log to its end."""
        while True:
            chunk = self.log.read(self.thread, self.cursor)
            if chunk.reset:
                self._load()
                return
            for entry in chunk.entries:
                self._apply(dict(entry.fields))
                self.cursor = Cursor(chunk.epoch, entry.seq)
            if not chunk.entries:
                return

    def _apply(self, data: dict) -> None:
        kind, message = data["type"], data["message_id"]
        if kind != "message.delta":
            assert (kind, message) not in self.seen, f"{kind} came twice"
            self.seen.add((kind, message))
        if kind == "message.created" and message not in self.texts:
            self.texts[message], self.numbers[message] = "", 0
        elif kind == "message.completed":
            self.texts[message] = data["message"]["content"]
        elif kind == "message.delta" and message in self.numbers and data["n"] > self.numbers[message]:
            assert data["n"] == self.numbers[message] + 1, "a piece is missing"
            self.texts[message] += data["text"]
            self.numbers[message] = data["n"]
        elif kind == "message.delta":
            assert message in self.texts, "a piece of a message that the reader does not have"

    def check(self) -> None:
        """What it has is a beginning of what was written."""
        for message, text in self.texts.items():
            assert self.writer.texts[message].startswith(text)


def play(log: EventLog, link: Link, evictions: dict[int, str]) -> None:
    """A run from which a key is evicted after some of its steps, with a new reader at each step."""
    thread = new_id()
    writer = Writer(log, thread)
    readers: list[Reader] = []
    for step, _ in enumerate(writer.steps()):
        if step in evictions:
            link.client.delete(name_of(evictions[step], thread))
        readers.append(Reader(log, thread, writer))
        for reader in readers:
            reader.read()
            reader.check()
    for reader in readers:
        reader.read()
        assert reader.texts == dict.fromkeys(MESSAGES, "".join(PIECES))


STEPS = 2 + len(MESSAGES) * (len(PIECES) + 2) + 2


@pytest.fixture
def log(link: Link, settings: Settings) -> EventLog:
    return EventLog(link, settings.log)


def test_without_evictions_nobody_is_reset(log: EventLog, link: Link) -> None:
    play(log, link, {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_may_be_evicted_at_any_moment(log: EventLog, link: Link, kind: str) -> None:
    for step in range(STEPS):
        play(log, link, {step: kind})


def test_any_keys_may_be_evicted_at_any_moments(log: EventLog, link: Link) -> None:
    chosen = random.Random(11)
    cases = list(itertools.product(itertools.combinations(range(STEPS), 2), KINDS, KINDS))
    for (first, second), one, another in chosen.sample(cases, 60):
        play(log, link, {first: one, second: another})
