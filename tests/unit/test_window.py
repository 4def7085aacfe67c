"""The window of a conversation: its goal, its calls, and what it leaves out, at any length."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.sdk import Message, Run
from runtime.sdk.window import AUTO, MOST_AHEAD, is_call, is_result, results_of, window
from runtime.sdk.wire import Wire


def says(role: str, content: str = "", type: str = "text", **more: Any) -> Message:
    return Message({"id": content, "role": role, "type": type, "content": content, **more})


def call(number: int) -> Message:
    return says("assistant", f"call {number}", "function", data={"call_id": f"{number}", "name": "f"})


def result(number: int) -> Message:
    return says("tool", f"result {number}", "function", data={"call_id": f"{number}"})


def contents(messages: list[Message]) -> list[str]:
    return [message.content for message in messages]


def loop(length: int) -> list[Message]:
    """A goal, and what a session does for it: prompts of its own, calls and answers."""
    messages = [says("user", "The goal")]
    while len(messages) < length:
        number = len(messages)
        messages += [
            says("user", f"Go on {number}.", author=AUTO), call(number), result(number),
            says("assistant", f"answer {number}"),
        ]  # fmt: skip
    return messages[:length]


@pytest.mark.parametrize("length", [5, 10, 100, 1_000], ids=str)
@pytest.mark.parametrize("size", [1, 5, 10, 100], ids=str)
def test_the_goal_comes_first_once_it_has_slid_out_and_no_call_is_cut_from_its_result(
    length: int, size: int
) -> None:
    messages = loop(length)
    shown = window(messages, size)

    assert shown[0].content == "The goal"
    assert contents(shown).count("The goal") == 1
    assert min(size, length) - 1 <= len(shown) - (length > size) <= size
    assert {m.content for m in shown[1:]} <= {m.content for m in messages[-size:]}
    assert_no_call_without_its_result(messages, shown)


def test_the_prompt_of_auto_continue_is_never_the_goal() -> None:
    prompts = [says("user", f"Go on {n}.", author=AUTO) for n in range(20)]
    assert contents(window(prompts, 1)) == ["Go on 19."]
    assert contents(window([says("user", "Goal", author="Ada"), *prompts], 1)) == ["Goal", "Go on 19."]


def test_a_pinned_message_is_the_goal_in_place_of_the_last_instruction() -> None:
    messages = [says("user", "Pinned"), says("assistant", "Yes"), says("user", "Last"), *loop(30)[1:]]
    assert contents(window(messages, 2, pinned="Pinned"))[0] == "Pinned"
    assert "Last" not in contents(window(messages, 2, pinned="Pinned"))
    assert contents(window(messages, 2, pinned="nowhere"))[0] == "Last"
    assert window(messages, 100, pinned="Pinned") == messages


def test_a_filter_shows_only_its_roles_and_types_and_no_half_of_a_call() -> None:
    run = Run({"messages": []}, Wire(-1, -1))
    run.messages = [says("system", "Be brief."), says("assistant", "print(1)", "code"), *loop(30)]

    shown = run.window(6, roles={"user", "assistant"})
    assert {(message.role, message.type) for message in shown} == {("user", "text"), ("assistant", "text")}
    assert len(shown) == 7

    assert {message.type for message in run.window(100, types={"code"})} == {"code"}
    assert contents(run.window(0, types=["text"])) == ["Be brief.", "The goal"]
    functions = run.window(4, types=["function"])
    assert [message.role for message in functions] == ["assistant", "tool"] * 2


def test_what_goes_ahead_of_a_window_is_bounded() -> None:
    many = [says(role, f"{role} {n}") for role in ("system", "user") for n in range(50)]
    shown = window([*many, says("assistant", "end")], 1)
    assert len(shown) == 2 * MOST_AHEAD + 1
    assert "user 49" in contents(shown)


def test_of_a_part_of_a_conversation_no_result_is_shown_whose_call_is_not_there() -> None:
    part = [result(1), call(2), result(3), result(2), says("assistant", "end")]
    assert contents(window(part, 10)) == ["call 2", "result 3", "result 2", "end"]
    assert contents(window(part, 10, cut=True)) == ["call 2", "result 2", "end"]


KINDS = st.sampled_from(["goal", "auto", "system", "call", "result", "text", "console"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(KINDS, st.integers(0, 5)), max_size=60), st.integers(0, 20))
def test_any_window_is_in_order_holds_its_goal_and_no_half_of_a_call(
    drawn: list[tuple[str, int]], size: int
) -> None:
    messages = [made(kind, number) for kind, number in drawn]
    shown = window(messages, size)
    places = [place for place, message in enumerate(messages) if any(message is one for one in shown)]

    assert [messages[place] for place in places] == shown
    ahead = [m for m in shown if m.role in ("user", "system") and m.author != AUTO]
    assert len(shown) <= size + min(len(ahead), 2 * MOST_AHEAD)
    persons = [message for message in messages if message.role == "user" and message.author != AUTO]
    assert not persons or any(message is persons[-1] for message in shown)
    assert_no_call_without_its_result(messages, shown)
    if size >= len(messages):
        dropped = [message for message in messages if all(message is not one for one in shown)]
        assert all(is_result(message) for message in dropped)


def made(kind: str, number: int) -> Message:
    if kind in ("call", "result"):
        return call(number) if kind == "call" else result(number)
    if kind == "console":
        return says("tool", f"console {number}", "console")
    role = {"goal": "user", "auto": "user", "system": "system", "text": "assistant"}[kind]
    return says(role, f"{kind} {number}", author=AUTO if kind == "auto" else None)


def assert_no_call_without_its_result(messages: list[Message], shown: list[Message]) -> None:
    kept = {id(message) for message in shown}
    for called, answered in results_of(messages).items():
        assert is_call(messages[called])
        if id(messages[answered]) in kept:
            assert id(messages[called]) in kept
        if id(messages[called]) in kept:
            assert id(messages[answered]) in kept
