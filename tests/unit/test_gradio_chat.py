"""What the Gradio page makes of messages, events and JSON Schemas; Gradio itself is not needed for it."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.errors import Invalid
from runtime.gradio_chat import forms
from runtime.gradio_chat.conversation import _MOST_AHEAD, Conversation
from runtime.gradio_chat.messages import entries, fenced, plain
from runtime.thread_api.streams import StreamEvent


def message(id: str, state: str, content: str = "", **more: Any) -> dict[str, Any]:
    given = {"role": "assistant", "type": "text", "channel": "answer", "author": None, "data": {}}
    return {**given, "id": id, "state_id": state, "content": content, "status": "complete", **more}


def run(id: str, state: str, status: str = "running", attempt: int = 1) -> dict[str, Any]:
    fields = {"confirmation": None, "error": None, "last_failure": None}
    return {"id": id, "output_state_id": state, "status": status, "attempt": attempt, **fields}


@pytest.fixture
def conversation() -> Conversation:
    """At the state s2, which the run r fills."""
    snapshot = {
        "cursor": "e:5", "next": None, "states": {"s1": {}}, "runs": [run("r", "s2")],
        "messages": [message("m1", "s1", "Question", role="user")],
        "open": [{"message": message("m2", "s2", "so ", status="partial"), "n": 2}],
    }  # fmt: skip
    return Conversation({"id": "t", "title": "T"}, "s2", snapshot)


def texts(conversation: Conversation) -> list[str]:
    return [entry["content"] for entry in conversation.entries]


def tell(conversation: Conversation, type: str, **data: Any) -> bool:
    return conversation.apply(StreamEvent(type, {"state_id": "s2", "run_id": "r", "attempt": 1, **data}))


def test_pieces_that_were_in_the_snapshot_are_not_written_twice(conversation: Conversation) -> None:
    for n, text in ((2, "so "), (3, "far"), (3, "far"), (5, "lost")):
        tell(conversation, "message.delta", message_id="m2", n=n, text=text)
    assert texts(conversation) == ["Question", "so far"]
    tell(conversation, "message.completed", message=message("m2", "s2", "so far so good"))
    tell(conversation, "message.delta", message_id="m2", n=4, text=" again")
    assert texts(conversation) == ["Question", "so far so good"]


def test_the_first_state_below_the_end_goes_on_and_others_are_branches(conversation: Conversation) -> None:
    for state in ("s3", "s4"):
        new = {"id": state, "parent_id": "s2", "messages": [message(f"m-{state}", state, state)]}
        tell(conversation, "state.created", state=new)
    tell(conversation, "message.created", state_id="s4", message=message("m9", "s4", "elsewhere"))
    assert conversation.tip == "s3"
    assert texts(conversation) == ["Question", "so ", "s3"]


def test_an_answer_that_is_told_before_its_question_is_shown_below_it(conversation: Conversation) -> None:
    """A pool that is quicker than the web process says first that the run has begun."""
    about = {"state_id": "s4", "run_id": "q"}
    tell(conversation, "state.created", state={"id": "s4", "parent_id": "s3"}, **about)
    tell(conversation, "run.started", run=run("q", "s4"), **about)
    tell(conversation, "message.created", message=message("m4", "s4", status="partial"), **about)
    tell(conversation, "message.delta", message_id="m4", n=1, text="An answer", **about)
    asked = message("m3", "s3", "And?", role="user")
    tell(
        conversation,
        "state.created",
        state_id="s3",
        state={"id": "s3", "parent_id": "s2", "messages": [asked]},
    )

    assert texts(conversation) == ["Question", "so ", "And?", "An answer"]
    assert conversation.active_run == run("q", "s4")


def test_what_is_written_on_other_branches_is_not_kept(conversation: Conversation) -> None:
    for at in range(100):
        about = {"state_id": f"b{at}", "run_id": f"q{at}"}
        tell(conversation, "state.created", state={"id": f"b{at}", "parent_id": f"a{at}"}, **about)
        tell(conversation, "message.created", message=message(f"x{at}", f"b{at}", "text"), **about)
        beside = message(f"y{at}", f"c{at}", "text")
        tell(conversation, "message.completed", message=beside, **{**about, "state_id": f"c{at}"})
    assert len(conversation._ahead) == len(conversation._beside) == _MOST_AHEAD
    assert texts(conversation) == ["Question", "so "]


def test_a_run_that_has_ended_stays_so(conversation: Conversation) -> None:
    tell(conversation, "run.completed", status="success", error=None)
    tell(conversation, "run.started", run=run("r", "s2"))
    tell(conversation, "run.waiting", confirmation={"prompt": "May I?"})
    assert conversation.active_run is None
    assert conversation.question is None


def test_what_a_lost_attempt_has_written_goes(conversation: Conversation) -> None:
    tell(conversation, "run.retried", run=run("r", "s2", "queued", 1), discarded=["m2"])
    assert texts(conversation) == ["Question"]
    assert conversation.status == "Waits for a slot …"


def test_a_question_is_there_until_it_is_answered(conversation: Conversation) -> None:
    tell(conversation, "run.waiting", confirmation={"id": "c", "prompt": "Shall I?"})
    assert conversation.question == {"id": "c", "prompt": "Shall I?", "run_id": "r"}
    tell(conversation, "run.queued", run=run("r", "s2", "queued"))
    assert conversation.question is None
    tell(conversation, "run.completed", status="error", error={"message": "It broke."})
    assert (conversation.status, conversation.active_run) == ("Ended as error: It broke.", None)


def test_a_reset_asks_for_a_snapshot(conversation: Conversation) -> None:
    assert not tell(conversation, "reset", reason="gap")


def test_code_is_fenced_whatever_it_contains() -> None:
    assert fenced("```\nx\n````", "c++ onload=x") == "`````c++onloadx\n```\nx\n````\n`````"


def test_a_terminals_output_is_what_it_would_show() -> None:
    assert plain("\x1b[1;31mred\x1b[0m\r\n10 %\r100 %\x1b]0;title\x07\nlong line\rlost") == (
        "red\n100 %\nlost line"
    )


def test_names_and_addresses_of_others_are_no_markup() -> None:
    hostile = '"><script>'
    shown = message("m", "s", "x", author=hostile, files=[{"id": "f", "name": hostile, "type": "image/png"}])
    picture = message("n", "s", hostile, type="image", data={"url": f"javascript:{hostile}"})
    assert not any("<script>" in entry["content"] for entry in entries([shown, picture]))


def test_values_of_a_form_are_those_of_its_schema() -> None:
    schema = {
        "required": ["kind", "loud"],
        "properties": {
            "kind": {"const": "tea"},
            "name": {"type": "string"},
            "tone": {"enum": ["kind", 3], "default": "kind"},
            "heat": {"type": "number", "default": 1.5},
            "count": {"type": "integer"},
            "loud": {"type": "boolean"},
            "tags": {"type": "array", "default": ["a"]},
            "either": {"oneOf": [{"const": 1, "title": "One"}, {"const": 2}]},
        },
    }
    asked = forms.fields(schema)
    assert [forms.entered(field) for field in asked] == ["tea", "", 0, "1.5", "", False, '["a"]', None]
    given = [None, "", 1, "2", "", False, "[]", 0]
    assert forms.values(asked, given) == {
        "kind": "tea", "tone": 3, "heat": 2, "loud": False, "tags": [], "either": 1,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["much", "true", '"1"', "1 2"], ids=["word", "boolean", "text", "two"])
def test_a_number_that_is_none_is_refused(text: str) -> None:
    [field] = forms.fields({"properties": {"heat": {"type": "number", "title": "Heat"}}})
    with pytest.raises(Invalid, match="Heat"):
        forms.values([field], [text])
