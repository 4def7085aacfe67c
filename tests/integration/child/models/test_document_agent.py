"""The agent that writes documents, against a scripted server of models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.sdk.testing import Result
from tests.support.fake_model import FakeModel, chunk
from tests.support.scripted_agents import Ask, saying

TEXT = "# Guide\n\nIt is long.\n"
ASKED = "Write a guide."
File = Callable[..., dict[str, Any]]


def decided(action: str, name: str = "") -> str:
    return json.dumps({"action": action, "name": name})


def answering(model: FakeModel, *answers: str) -> None:
    """What the model decides first, where that is all that it is asked, and then what it writes."""
    model.reply = lambda _: iter(saying(answers[min(len(model.requests), len(answers)) - 1]))


def writing_in_parts(model: FakeModel, *parts: str, finish: str = "length") -> None:
    """A model that decides for a new document, and all of whose answers to that but the last are cut off."""

    def reply(_: dict[str, Any]) -> Iterator[bytes]:
        number = len(model.requests)
        if number == 1:
            return iter(saying(decided("write", "guide.md")))
        end = "stop" if number == len(parts) + 1 else finish
        return iter([chunk({"content": parts[number - 2]}), chunk({}, finish=end)])

    model.reply = reply


@pytest.fixture
def file(tmp_path: Path) -> File:
    """Makes a file as messages name it."""

    def made(name: str, text: str, id: str = "f1") -> dict[str, Any]:
        path = tmp_path / name
        path.write_text(text)
        return {"id": id, "name": name, "type": "text/markdown", "size": len(text), "path": str(path)}

    return made


def attached(text: str, *files: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": text, "files": list(files)}


def saved(result: Result) -> tuple[str, int, int]:
    """Which version of which document was made, and of how many files."""
    assert result.error is None, result.error
    [message] = [one for one in result.events if "document" in (one.get("data") or {})]
    document = message["data"]["document"]
    return document["name"], document["version"], len(message["files"])


def versions(result: Result) -> dict[str, int]:
    return {name: one["version"] for name, one in result.state["documents"].items()}


@pytest.mark.parametrize(
    ("config", "args", "named", "made", "type"),
    [
        ({}, None, "guide.md", "guide.md", "text"),
        ({}, None, "docs/My guide", "My guide.md", "text"),
        ({"format": "text"}, None, "guide.md", "guide.txt", "code"),
        ({"format": "text"}, {"format": "html"}, "guide", "guide.html", "code"),
        ({}, None, "..", "document.md", "text"),
    ],
    ids=["markdown", "path", "configured", "sent", "no_name"],
)
def test_a_new_document_is_shown_while_it_is_written_and_is_a_file(
    ask: Ask, model: FakeModel, config: dict[str, Any], args: Any, named: str, made: str, type: str
) -> None:
    answering(model, decided("write", named), TEXT)
    result = ask("document_agent", ASKED, config={"style": "dry", **config}, args=args)

    assert saved(result) == (made, 1, 1)
    assert [(one.type, one.content) for one in result.messages] == [(type, TEXT), ("text", f"{made}, v1")]
    assert versions(result) == {made: 1}
    assert f"Write the document {made}" in model.requests[1]["messages"][0]["content"]
    assert "Style: dry" in model.requests[1]["messages"][0]["content"]
    assert result.usage == {"input_tokens": 20, "output_tokens": 4}


def test_a_revision_shows_what_would_change_and_asks_before_it_replaces(
    ask: Ask, model: FakeModel, file: File
) -> None:
    answering(model, decided("revise", "GUIDE.md"), "```markdown\n# Guide\n\nIt is short.\n```")
    asking = ask("document_agent", attached("Make it short.", file("guide.md", TEXT)))

    assert (
        asking.question is not None and asking.question.prompt == "Replace guide.md, version 1, by version 2?"
    )
    shown = next(one for one in asking.messages if one.type == "code")
    assert shown.data == {"language": "diff", "title": "guide.md", "draft": "guide.md"}
    assert shown.content.splitlines()[-2:] == ["-It is long.", "+It is short."]
    assert "It is long." in model.requests[1]["messages"][0]["content"]
    assert model.requests[1]["messages"][1]["content"] == "Make it short.\n(Files: guide.md)"

    replaced = asking.answer("Replace")
    assert (saved(replaced), versions(replaced)) == (("guide.md", 2, 2), {"guide.md": 2})
    kept = asking.answer("Keep")
    assert kept.messages[-1].content == "guide.md, v1: no change."
    assert versions(kept) == {"guide.md": 1}
    assert len(model.requests) == 2, "nothing is asked again behind a question"


def test_a_document_that_is_there_is_not_written_over_without_a_question(
    ask: Ask, model: FakeModel, file: File
) -> None:
    answering(model, decided("write", "guide.md"), "# New\n")
    result = ask(
        "document_agent", attached("Write guide.md anew.", file("guide.md", TEXT)), args={"format": "html"}
    )
    assert result.question is not None
    assert not any("document" in one.data for one in result.messages)


def test_documents_of_earlier_runs_are_found_and_what_is_attached_again_is_their_next_version(
    ask: Ask, model: FakeModel, file: File
) -> None:
    old, new = file("guide.md", TEXT), file("guide.md", "# Guide\n", id="f2")
    state = {"documents": {"guide.md": {"version": 3, "file": old}}, "attached": []}
    said = {"role": "assistant", "content": "guide.md, v3", "files": [old]}
    answering(model, decided("answer", "guide.md"), "It says nothing.")

    result = ask("document_agent", said, "What does it say?", state=state)
    assert (result.text, versions(result)) == ("It says nothing.", {"guide.md": 3})
    assert "Document guide.md, version 3:\n\n# Guide" in model.requests[1]["messages"][0]["content"]
    model.requests.clear()
    result = ask("document_agent", said, attached("And now?", new), state=state)
    assert versions(result) == {"guide.md": 4}
    assert result.state["attached"] == ["f2"]


def test_a_decision_for_a_document_that_is_not_there_is_repaired(ask: Ask, model: FakeModel) -> None:
    answering(model, decided("revise", "x.md"), decided("write", "x.md"), TEXT)
    assert saved(ask("document_agent", ASKED)) == ("x.md", 1, 1)
    assert "there is no document 'x.md'; there are: none" in model.requests[1]["messages"][-1]["content"]


def test_a_revision_without_a_change_makes_no_version(ask: Ask, model: FakeModel, file: File) -> None:
    answering(model, decided("revise", "guide.md"), f"<think>Hm.</think>\n{TEXT}")
    result = ask("document_agent", attached("Make it good.", file("guide.md", TEXT)))
    assert (result.status, result.text) == ("success", "guide.md, v1: no change.")


def test_a_document_that_is_longer_than_an_answer_is_gone_on_with(ask: Ask, model: FakeModel) -> None:
    parts = ("# Guide\n\nOne \n", " \ntwo ", "three.\n")
    writing_in_parts(model, *parts)
    result = ask("document_agent", ASKED)

    assert saved(result) == ("guide.md", 1, 1)
    assert result.messages[0].content == "# Guide\n\nOne \ntwo three.\n"
    assert [request["messages"][-2]["content"] for request in model.requests[2:]] == [
        "# Guide\n\nOne",
        "# Guide\n\nOne \ntwo",
    ]
    assert "Continue it exactly where it ends" in model.requests[3]["messages"][-1]["content"]

    model.requests.clear()
    lost = ask("document_agent", ASKED, crash_after=len(result.events) - 5)
    before, kept = len(model.requests), len(lost.saved)
    model.requests[:] = model.requests[:kept]
    assert lost.resume().messages[0].content == result.messages[0].content
    assert len(model.requests) == len(parts) + 1 and before >= kept >= 2


def test_a_line_break_behind_a_thought_is_a_part_of_the_document(ask: Ask, model: FakeModel) -> None:
    writing_in_parts(model, "# Guide\n\n- One", "<think>On.</think>\n\n\n- Two\n")
    assert ask("document_agent", ASKED).messages[0].content == "# Guide\n\n- One\n- Two\n"


@pytest.mark.parametrize(("finish", "why"), [("content_filter", "content filter"), ("length", "maximum")])
def test_half_a_document_is_no_version(ask: Ask, model: FakeModel, finish: str, why: str) -> None:
    writing_in_parts(model, "# Guide", "", "", finish=finish)
    result = ask("document_agent", ASKED)
    assert result.error is not None and why in result.error.message
    assert not any("document" in one.data for one in result.messages)


def test_the_conversation_has_no_texts_of_documents(ask: Ask, model: FakeModel, file: File) -> None:
    answering(model, decided("write", "guide.md"), TEXT)
    written = ask("document_agent", ASKED)
    shown = [{"role": one.role, "content": one.content, "data": one.data} for one in written.messages]
    state = {"documents": {"guide.md": {"version": 1, "file": file("guide.md", TEXT)}}}
    model.requests.clear()
    answering(model, decided("answer", ""), "Yes.")
    result = ask("document_agent", ASKED, *shown, "Is it good?", state=state)

    assert result.text == "Yes."
    said = [message["content"] for message in model.requests[0]["messages"][1:]]
    assert said == [ASKED, "guide.md, v1", "Is it good?"]
    assert f"Document guide.md, version 1:\n\n{TEXT}" in model.requests[1]["messages"][0]["content"]


def test_a_document_is_known_without_its_ending(ask: Ask, model: FakeModel, file: File) -> None:
    answering(model, decided("revise", "Guide"), "# Guide\n")
    asking = ask("document_agent", attached("Make it short.", file("guide.md", TEXT)))
    assert asking.question is not None and "guide.md" in asking.question.prompt


@pytest.mark.parametrize("args", [{"format": "pdf"}, {"style": 5}])
def test_a_document_that_cannot_be_asked_for_is_refused(ask: Ask, model: FakeModel, args: Any) -> None:
    error = ask("document_agent", ASKED, args=args).error
    assert error is not None and next(iter(args)) in error.message
    assert model.requests == []


def test_a_document_is_not_revised_where_it_is_too_long(ask: Ask, model: FakeModel, file: File) -> None:
    answering(model, decided("revise", "guide.md"))
    error = ask("document_agent", attached("Make it short.", file("guide.md", "x" * 400_001))).error
    assert error is not None and "too long" in error.message and len(model.requests) == 1


def test_a_document_that_is_paid_for_is_not_written_again(ask: Ask, model: FakeModel, file: File) -> None:
    answers = decided("revise", "guide.md"), "# Guide\n"
    model.reply = lambda request: iter(
        saying(answers["Revise the document" in request["messages"][0]["content"]])
    )
    said = attached("Make it short.", file("guide.md", TEXT))
    whole = ask("document_agent", said)
    for crash_after in range(len(whole.events)):
        assert ask("document_agent", said, cancel_after=crash_after).status == "cancelled"
        model.requests.clear()
        lost = ask("document_agent", said, crash_after=crash_after)
        before, kept = len(model.requests), len(lost.saved)
        result = lost.resume().answer("Replace")
        assert saved(result) == ("guide.md", 2, 2)
        assert len(model.requests) == before + 2 - kept
        assert result.usage == whole.usage


def test_where_nothing_was_said_there_is_nothing_to_write(ask: Ask, model: FakeModel) -> None:
    error = ask("document_agent").error
    assert error is not None and error.message == "There is nothing to do."
