"""The protocol's decoder: what it takes, what it refuses, and how it is cut makes no difference."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.child.protocol import (
    CompleteMessage,
    Confirm,
    Decoder,
    Delta,
    Done,
    End,
    Failed,
    Log,
    Refused,
    Save,
    Start,
    Step,
    Usage,
    WorkerEvent,
)
from runtime.errors import OutputTooLarge
from runtime.model import Channel, MessageType, Role


def lines(*objects: Any) -> bytes:
    """As Python's json writes them: everything outside ASCII escaped."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def decode(data: bytes, elsewhere: bool = False) -> list[WorkerEvent]:
    decoder = Decoder(elsewhere=elsewhere)
    return [*decoder.feed(data), *decoder.end()]


def text(said: list[WorkerEvent], ref: str | None = None) -> str:
    return "".join(one.text for one in said if isinstance(one, Delta) and one.ref == ref)


def delta(text: str, ref: str | None = None) -> dict[str, Any]:
    return {"type": "delta", "text": text} | ({"ref": ref} if ref else {})


@pytest.mark.parametrize("name", ["message", "MESSAGE"])
def test_a_text_may_be_called_a_message(name: str) -> None:
    said = decode(lines({"type": "message", "message_type": name, "content": "Hello"}))
    [message] = said
    assert isinstance(message, CompleteMessage) and message.type is MessageType.TEXT


def test_every_kind_of_line_is_understood() -> None:
    start = {"type": "start", "ref": "a", "role": "tool", "message_type": "code", "channel": "reasoning"}
    said = decode(
        lines(
            delta("x"),
            {**start, "author": "me", "data": {"language": "python"}},
            delta("y", "a"),
            {"type": "end", "ref": "a", "data": {"z": 1}},
            {
                "type": "message",
                "role": "user",
                "message_type": "image",
                "content": "alt",
                "data": {"file": "f"},
            },
            {"type": "step", "description": "Look"},
            {"type": "usage", "input_tokens": 3, "cost": {"eur": 0.1}},
            {"type": "confirm", "id": "1", "prompt": "Sure?", "options": ["yes", "no"]},
            {"type": "save", "key": "k", "value": ["\u00e9", None], "digest": "d", "usage": {"calls": 1}},
            {"type": "done"},
            {"type": "error", "message": "No.", "retryable": True},
        )
    )
    assert said == [
        Delta(None, "x"),
        Start("a", Role.TOOL, MessageType.CODE, Channel.REASONING, "me", {"language": "python"}),
        Delta("a", "y"),
        End("a", {"z": 1}),
        CompleteMessage(Role.USER, MessageType.IMAGE, Channel.ANSWER, None, "alt", {"file": "f"}),
        Step("Look"),
        Usage({"input_tokens": 3, "cost": {"eur": 0.1}}),
        Confirm("1", "Sure?", ["yes", "no"]),
        Save("k", '["\\u00e9",null]', "d", {"calls": 1}),
        Done(),
        Failed("No.", True),
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"key": "k"}, '"value" of save is missing'),
        ({"key": "k", "value": "x" * (1 << 20)}, "larger than 1048576 bytes"),
        ({"key": "k", "value": 1, "digest": 5}, '"digest" of save must be a string'),
        ({"key": "k", "value": 1, "usage": 5}, '"usage" of save must be an object'),
        ({"key": "k" * 201, "value": 1}, "1 to 200 characters"),
        ({"key": "a\0", "value": 1}, "NUL"),
    ],
)
def test_what_waits_for_an_answer_is_told_what_is_wrong(fields: dict[str, Any], words: str) -> None:
    log, refused = decode(lines({"type": "save", **fields}))
    assert isinstance(log, Log) and words in log.text
    assert isinstance(refused, Refused) and words in refused.reason
    assert (refused.type, refused.key) == ("save", fields["key"])


def test_a_saved_value_is_kept_as_it_was_said() -> None:
    [said] = decode(b'{"type":"save","key":"k","value":"a\\u0000\\ud800"}\n')
    assert said == Save("k", '"a\\u0000\\ud800"')


def test_a_machine_elsewhere_says_how_a_worker_has_ended_that_has_not() -> None:
    crashed = {"type": "exit", "code": "worker_crashed", "message": "It fell."}
    assert decode(lines(crashed), elsewhere=True) == [Failed("It fell.", False, None, "worker_crashed")]
    lost = {**crashed, "code": "lost"}
    assert decode(lines(lost), elsewhere=True) == [Failed("It fell.", True, None, "lost")]
    [log] = decode(lines({**crashed, "code": ["cancelled"]}), elsewhere=True)
    assert isinstance(log, Log) and '"code" of exit must be one of' in log.text


def test_no_other_worker_says_that_it_was_lost_or_out_of_time() -> None:
    log, done = decode(lines({"type": "exit", "code": "lost", "message": "It fell."}, {"type": "done"}))
    assert isinstance(log, Log) and "the type 'exit' is unknown" in log.text
    assert done == Done()


def test_what_is_left_out_has_a_default() -> None:
    said = decode(
        lines({"type": "start", "ref": "a"}, {"type": "message", "content": "c"}, {"type": "error"})
    )
    assert said == [
        Start("a", Role.ASSISTANT, MessageType.TEXT, Channel.ANSWER, None, {}),
        CompleteMessage(Role.ASSISTANT, MessageType.TEXT, Channel.ANSWER, None, "c", {}),
        Failed("The worker failed.", False),
    ]


@pytest.mark.parametrize(
    "line",
    ["words", "5", '"text"', "[1,2]", "null", "true", "{broken", '{"a":1} extra', "{'type':'done'}", "NaN"],
)
def test_a_line_that_is_no_object_is_for_the_log(line: str) -> None:
    assert decode(f"{line}\n".encode()) == [Log(f"{line}\n")]


@pytest.mark.parametrize("before", [b"", b'{"type":"delta","text":"x"}\n'], ids=["first", "later"])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'\xef\xbb\xbf{"type":"delta","text":"a"}', "a"),
        (b'{"type":"delta","text":"caf\xe9 \xff!"}', "caf\ufffd \ufffd!"),
        (b'{"type":"delta","text":"\xe2\x82"}', "\ufffd"),
        (b'\xef\xbb\xbf{"type":"delta","text":"\xc3"}\r', "\ufffd"),
    ],
    ids=["byte order mark", "Latin-1", "half a character", "both"],
)
def test_no_line_is_missing_for_its_encoding(before: bytes, line: bytes, said: str) -> None:
    decoded = decode(before + line + b'\n{"type":"done"}\n')
    assert text(decoded).removeprefix("x") == said
    assert [one for one in decoded if not isinstance(one, Delta)] == [Done()]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_an_error_that_says_so(encoding: str) -> None:
    written = '{"type":"delta","text":"a"}\n{"type":"done"}\n'.encode(encoding)
    first = next(one for one in decode(written) if not isinstance(one, Log))
    assert isinstance(first, Failed) and "UTF-16" in first.message


def test_lines_for_the_log_come_together_and_empty_ones_not_at_all() -> None:
    assert decode(b"one\r\n\n  \ntwo\xff\x00\n") == [Log("one\ntwo\ufffd\ufffd\n")]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        ({"type": "nonsense"}, "'nonsense' is unknown"),
        ({"type": 5}, 'no "type"'),
        ({}, 'no "type"'),
        ({"type": "delta"}, '"text" of delta must be a string'),
        ({"type": "delta", "text": 5}, '"text" of delta must be a string'),
        ({"type": "delta", "text": "x", "ref": "unknown"}, "no message 'unknown' is open"),
        ({"type": "delta", "text": "x", "ref": 5}, '"ref" of delta must be a string'),
        ({"type": "delta", "text": "x", "ref": ["a"]}, '"ref" of delta must be a string'),
        ({"type": "start"}, '"ref" of start is missing'),
        ({"type": "start", "ref": ""}, "1 to 200 characters"),
        ({"type": "start", "ref": "r" * 201}, "1 to 200 characters"),
        ({"type": "start", "ref": "a", "role": "boss"}, "must be one of system, user, assistant, tool"),
        ({"type": "start", "ref": "a", "role": ["user"]}, "must be one of"),
        ({"type": "start", "ref": "a", "data": [1]}, '"data" of start must be an object'),
        ({"type": "end", "ref": "a"}, "no message 'a' is open"),
        ({"type": "message", "content": None}, '"content" of message must be a string'),
        ({"type": "message", "content": "", "data": {"x": "y" * (1 << 20)}}, "larger than"),
        ({"type": "usage", "x": 10**400}, "too large"),
        ({"type": "confirm", "prompt": "?"}, '"id" of confirm is missing'),
        ({"type": "confirm", "id": "1", "prompt": "?", "options": "yes"}, "list of strings"),
        ({"type": "confirm", "id": "1", "prompt": "?", "options": ["x"] * 101}, "100 entries"),
        ({"type": "step"}, '"description" of step must be a string'),
    ],
)
def test_what_is_wrong_is_said_and_skipped(one: dict[str, Any], words: str) -> None:
    said = decode(lines(delta("before"), one, delta("after")))
    assert text(said) == "beforeafter"
    (log,) = [one for one in said if isinstance(one, Log)]
    assert log.text.startswith("[branchline] ignored an event of the worker: ")
    assert words in log.text


def test_a_number_beyond_every_database_is_refused() -> None:
    (log,) = decode(b'{"type":"usage","x":1e400}\n')
    assert isinstance(log, Log) and "too large" in log.text


def test_deep_nesting_is_refused_not_fatal() -> None:
    deep = b'{"type":"usage","x":' + b"[" * 500 + b"]" * 500 + b"}\n"
    deeper = b'{"type":"usage","x":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n"
    said = decode(deep + deeper + lines({"type": "done"}))
    assert [type(one) for one in said] == [Log, Done]


def test_a_message_opens_once_and_closes_once() -> None:
    start, end = {"type": "start", "ref": "a"}, {"type": "end", "ref": "a"}
    said = decode(lines(start, start, end, end, start))
    assert [type(one).__name__ for one in said] == ["Start", "Log", "End", "Log", "Start"]


def test_adjacent_deltas_of_a_message_are_joined() -> None:
    start = {"type": "start", "ref": "a"}
    said = decode(
        lines(start, delta("1"), delta("2"), delta("x", "a"), delta("y", "a"), delta(""), delta("3"))
    )
    assert said[1:] == [Delta(None, "12"), Delta("a", "xy"), Delta(None, "3")]


def test_empty_deltas_say_nothing() -> None:
    assert decode(lines(delta(""), delta(""))) == []


def test_nul_becomes_the_replacement_character_everywhere() -> None:
    said = decode(
        lines(
            delta("a\0b"),
            {"type": "message", "content": "\0", "author": "\0", "data": {"\0": ["\0", {"x": "\0"}]}},
            {"type": "step", "description": "\0"},
        )
    )
    assert said == [
        Delta(None, "a\ufffdb"),
        CompleteMessage(
            Role.ASSISTANT, MessageType.TEXT, Channel.ANSWER, "\ufffd", "\ufffd",
            {"\ufffd": ["\ufffd", {"x": "\ufffd"}]},
        ),
        Step("\ufffd"),
    ]  # fmt: skip


def test_half_a_surrogate_pair_waits_for_its_other_half() -> None:
    decoder = Decoder()
    assert decoder.feed(lines(delta("a\ud83d"))) == [Delta(None, "a")]
    assert decoder.feed(lines(delta(""), {"type": "step", "description": "s"})) == [Step("s")]
    assert decoder.feed(lines(delta("\ude00b"))) == [Delta(None, "😀b")]


def test_halves_of_several_messages_do_not_mix() -> None:
    said = decode(
        lines(
            {"type": "start", "ref": "a"},
            delta("\ud83d"),
            delta("\ud83d", "a"),
            delta("\ude01", "a"),
            delta("\ude00"),
        )
    )
    assert text(said) == "😀"
    assert text(said, "a") == "😁"


@pytest.mark.parametrize(
    "last",
    [
        {"type": "done"},
        {"type": "error", "message": "x"},
        {"type": "confirm", "id": "1", "prompt": "?"},
        {"type": "start", "ref": "b"},
        {"type": "message", "content": "x"},
        None,
    ],
)
def test_a_half_without_its_other_half_is_replaced(last: dict[str, Any] | None) -> None:
    said = decode(lines(delta("a\ud83d"), *([last] if last else [])))
    assert text(said) == "a\ufffd"
    assert isinstance(said[-1], Delta) is (last is None)


def test_a_half_is_replaced_when_its_message_ends() -> None:
    start, end = {"type": "start", "ref": "a"}, {"type": "end", "ref": "a"}
    assert decode(lines(start, delta("\ud83d", "a"), end))[1:] == [Delta("a", "\ufffd"), End("a", None)]


def test_lone_halves_within_a_text_are_replaced() -> None:
    assert text(decode(lines(delta("\udc00a\ud800b")))) == "\ufffda\ufffdb"


def test_a_last_line_without_a_break_counts() -> None:
    assert decode(b'{"type":"done"}') == [Done()]
    assert decode(b'{"type":"do') == [Log('{"type":"do\n')]


def test_a_line_over_the_limit_ends_it() -> None:
    decoder = Decoder(max_line=100)
    assert decoder.feed(lines(delta("x" * 60))) == [Delta(None, "x" * 60)]
    decoder.feed(b"y" * 100)
    with pytest.raises(OutputTooLarge, match="more than 100 bytes"):
        decoder.feed(b"y")


def test_a_line_over_the_limit_ends_it_also_when_its_break_comes_with_the_rest() -> None:
    decoder = Decoder(max_line=100)
    decoder.feed(b"y" * 60)
    with pytest.raises(OutputTooLarge):
        decoder.feed(b"y" * 60 + b"\n")


def test_long_output_of_short_lines_is_no_long_line() -> None:
    decoder = Decoder(max_line=100)
    decoder.feed(b"log")
    assert len(decoder.feed(b"ged\n" + lines(*[delta("x" * 10)] * 100))) == 2


OBJECTS = st.one_of(
    st.builds(delta, st.text(max_size=5)),
    st.builds(delta, st.sampled_from(["\ud83d", "\ude00", "a\ud83d", "\0", "é\u2028\n"])),
    st.builds(delta, st.text(max_size=5), st.sampled_from(["a", "b"])),
    st.sampled_from(
        [
            {"type": "start", "ref": "a"},
            {"type": "start", "ref": "b"},
            {"type": "end", "ref": "a"},
            {"type": "step", "description": "s"},
            {"type": "what"},
            {"type": "done"},
        ]
    ),
)
LINES = st.one_of(
    OBJECTS.map(lambda one: json.dumps(one).encode()),
    OBJECTS.map(lambda one: json.dumps(one, ensure_ascii=False).encode("utf-8", "backslashreplace")),
    st.sampled_from(
        [b"", b"log", b"\xff", b"{", b"1,2", b'{"type":"delta","text":"x"},{"type":"done"}', b"\r"]
    ),
)


@settings(deadline=None)
@given(st.lists(LINES, max_size=12), st.lists(st.integers(1, 40), max_size=30))
def test_how_the_output_is_cut_makes_no_difference(written: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(written)
    decoder, pieces, rest = Decoder(), [], data
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    said = [one for piece in [*pieces, rest] if piece for one in decoder.feed(piece)]
    assert joined([*said, *decoder.end()]) == joined(decode(data))


def joined(said: list[WorkerEvent]) -> list[WorkerEvent]:
    """The same with adjacent texts joined, which depends on the cuts."""
    out: list[WorkerEvent] = []
    for one in said:
        match (out[-1] if out else None), one:
            case Delta(ref, before), Delta(also, after) if ref == also:
                out[-1] = Delta(ref, before + after)
            case Log(before), Log(after):
                out[-1] = Log(before + after)
            case _:
                out.append(one)
    return out
