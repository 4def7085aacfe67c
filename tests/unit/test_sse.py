"""Server-Sent Events: what their stream holds while a reader does not read."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from runtime.stream import Batch, Entry, Signal
from web.ops.metrics import Metrics
from web.streaming.sse import encode_sse, send


class Remembered(Entry):
    """An entry that can be asked whether it is still in memory."""


class Source:
    """Sends one batch."""

    def __init__(self) -> None:
        self.entry: weakref.ref[Entry] | None = None

    def __iter__(self) -> Iterator[Batch | None]:
        yield self._batch()

    def close(self) -> None:
        """Nothing is held."""

    def _batch(self) -> Batch:
        entry = Remembered("e", 1, "message.delta", "r", b'{"text":"x"}')
        self.entry = weakref.ref(entry)
        return Batch([entry])


def test_a_reader_that_stops_reading_holds_bytes_and_no_records() -> None:
    stream = SimpleNamespace(retry_ms=1000, heartbeat=15.0)
    core: Any = SimpleNamespace(metrics=Metrics(), settings=SimpleNamespace(stream=stream), stopping=False)
    source = Source()
    body = iter(send(core, source, lambda: True).response)
    assert next(body) == b"retry: 1000\n\n"

    sent = next(body)  # and here the reader stops

    gc.collect()
    assert sent == b'id: e:1\nevent: message.delta\ndata: {"seq":1,"text":"x"}\n\n'
    assert source.entry is not None
    assert source.entry() is None


def test_a_record_without_an_id_leaves_the_readers_position_as_it_is() -> None:
    assert encode_sse(Signal({"type": "reload"})) == b'event: reload\ndata: {"type":"reload"}\n\n'
