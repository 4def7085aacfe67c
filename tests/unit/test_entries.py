"""Records and batches of a stream: what their readers share."""

from __future__ import annotations

from runtime.stream import Batch, Entry, Record, reset_signal
from runtime.stream.entries import BATCH_BYTES, select_batch


class Encoder:
    """Counts what it encodes."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.encoded: list[Record] = []

    def __call__(self, record: Record) -> bytes:
        self.encoded.append(record)
        return b"%b:%b;" % (self.name, record.type.encode())


def entry(seq: int, type: str = "message.delta", run_id: str = "r", text: str = "") -> Entry:
    return Entry("e", seq, type, run_id, b'{"text":"%b"}' % text.encode())


def test_a_batch_is_encoded_once_for_all_its_readers():
    encode = Encoder(b"sse")
    batch = Batch([entry(1), entry(2)])

    assert batch.encoded(encode) is batch.encoded(encode)
    assert len(encode.encoded) == 2


def test_batches_at_different_positions_share_the_encodings_of_their_entries():
    encode = Encoder(b"sse")
    entries = [entry(1), entry(2)]
    Batch(entries).encoded(encode)

    assert Batch(entries[1:]).encoded(encode) == b"sse:message.delta;"
    assert len(encode.encoded) == 2


def test_each_protocol_gets_its_own_encoding():
    batch = Batch([entry(1)])

    assert batch.encoded(Encoder(b"sse")) == b"sse:message.delta;"
    assert batch.encoded(Encoder(b"ws")) == b"ws:message.delta;"


def test_an_entry_is_a_position_and_a_reset_is_none():
    assert (entry(7).id, entry(7, text="a").data) == ("e:7", b'{"seq":7,"text":"a"}')
    reset = reset_signal("t", "trimmed")
    assert (reset.id, reset.type, reset.fields["reason"]) == (None, "reset", "trimmed")


def test_a_batch_of_a_run_skips_others_and_ends_with_the_run():
    entries = [entry(1), entry(2, run_id="other"), entry(3, "run.completed"), entry(4)]
    batch = select_batch(entries, 0, "r")

    assert [record.id for record in batch.records] == ["e:1", "e:3"]
    assert (batch.position, batch.final) == (3, True)


def test_a_batch_ends_with_the_entry_that_makes_it_large():
    entries = [entry(number, text="x" * (BATCH_BYTES // 2)) for number in range(1, 5)]
    batch = select_batch(entries, 0, None)

    assert (len(batch.records), batch.position, batch.final) == (2, 2, False)


def test_a_batch_without_entries_of_a_run_moves_the_position():
    batch = select_batch([entry(1, run_id="other")], 0, "r")

    assert (list(batch.records), batch.position) == ([], 1)
