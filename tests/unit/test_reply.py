"""What `branchline chat` prints of a run, whatever happens to the stream."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from runtime.cli.reply import Reply
from runtime.thread_api.streams import StreamEvent, parse_stream


def message(id: str = "m1", content: str = "", **more: Any) -> dict[str, Any]:
    return {"id": id, "role": "assistant", "type": "text", "channel": "answer", "content": content, **more}


def created(id: str = "m1", **more: Any) -> StreamEvent:
    return StreamEvent("message.created", {"message": message(id, **more)})


def delta(n: int, text: str, id: str = "m1") -> StreamEvent:
    return StreamEvent("message.delta", {"message_id": id, "n": n, "text": text})


def completed(content: str, id: str = "m1", **more: Any) -> StreamEvent:
    return StreamEvent("message.completed", {"message": message(id, content, **more)})


def ended(status: str = "success", error: dict[str, Any] | None = None) -> StreamEvent:
    return StreamEvent("run.completed", {"status": status, "error": error})


RESET = StreamEvent("reset", {"reason": "epoch"})


def printed(*stream: StreamEvent) -> str:
    out = io.StringIO()
    Reply(Console(file=out, soft_wrap=True)).follow(stream)
    return out.getvalue()


def test_a_text_is_printed_once_and_ends_with_one_newline() -> None:
    told = [
        created(),
        delta(1, " Hello"),
        delta(2, "\n\nworld [bold]"),
        completed(" Hello\n\nworld [bold]"),
        ended(),
    ]
    assert printed(*told) == " Hello\n\nworld [bold]\n"


def test_a_delta_that_comes_twice_is_printed_once() -> None:
    assert printed(created(), delta(1, "a"), delta(1, "a"), delta(2, "b"), completed("ab"), ended()) == "ab\n"


def test_after_a_reset_only_what_is_new_is_printed() -> None:
    rebuilt = [created(), delta(1, "one two three"), completed("one two three"), ended()]
    assert printed(created(), delta(1, "one "), delta(2, "two"), RESET, *rebuilt) == "one two three\n"


def test_a_reset_after_a_message_is_complete_prints_nothing_twice() -> None:
    assert (
        printed(created(), completed("one"), RESET, created(), delta(1, "one"), completed("one"), ended())
        == "one\n"
    )


def test_a_message_without_deltas_is_printed_when_it_is_complete() -> None:
    assert printed(completed("at once"), ended()) == "at once\n"


def test_the_text_of_a_lost_attempt_is_called_discarded() -> None:
    retried = StreamEvent("run.retried", {"discarded": ["m1"]})
    lines = printed(
        created(), delta(1, "half"), retried, created("m2"), delta(1, "whole", "m2"), ended()
    ).splitlines()
    assert lines[0] == "half"
    assert "discarded" in lines[1]
    assert lines[2] == "whole"


def test_two_messages_do_not_share_a_line() -> None:
    assert printed(created("a"), delta(1, "A", "a"), created("b"), delta(1, "B", "b"), ended()) == "A\nB\n"


def waiting(id: str, attempt: int) -> StreamEvent:
    question = {"id": id, "prompt": "Really?", "options": ["yes", "no"]}
    return StreamEvent("run.waiting", {"confirmation": question, "attempt": attempt}, f"e:{attempt}")


def test_following_stops_at_each_question_once_and_goes_on_after_it() -> None:
    stream = iter([waiting("a", 1), RESET, waiting("a", 1), waiting("b", 2), ended()])
    reply = Reply(Console(file=io.StringIO()))
    for asked in ("a", "b"):
        reply.follow(stream)
        assert reply.question is not None and reply.question["id"] == asked
        assert reply.status is None
        reply.question = None
    assert reply.cursor == "e:2"
    reply.follow(stream)
    assert reply.status == "success"


@pytest.mark.parametrize("cut", ["\n", "\r\n"])
def test_a_stream_is_parsed_into_events_with_their_ids(cut: str) -> None:
    text = 'retry: 1000\n\n: hb\n\nid: e:1\nevent: run.step\ndata: {"seq": 1}\n\n'
    text += 'event: reset\ndata: {"a":\ndata: 2}\n\n'
    events = list(parse_stream(iter(text.replace("\n", cut).split(cut))))
    assert events == [StreamEvent("run.step", {"seq": 1}, "e:1"), StreamEvent("reset", {"a": 2})]


def test_a_text_keeps_its_lines_and_shows_its_control_characters() -> None:
    out = printed(
        created(),
        delta(1, "one\n\ttwo\x1b"),
        delta(2, "[2J\x9b\u202e"),
        StreamEvent("run.step", {"description": "a\x1b[2J\nb"}),
        completed("one\n\ttwo\x1b[2J\x9b\u202e\x07"),
        ended(),
    )

    assert "one\n" in out
    assert "two\\x1b[2J\\x9b\\u202e" in out
    assert "(a\\x1b[2J\\x0ab)" in out
    assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(out)
