"""Only the message types that there are pass, each with the data that its schema allows."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from marshmallow import ValidationError

from runtime.child.protocol import CompleteMessage, Decoder, Log, Start
from runtime.model import MessageType
from runtime.sdk.protocol.message_types import DATA, fitting, mistake
from runtime.sdk.testing import execute
from tests.unit.test_protocol import lines
from web.api.schemas.inputs import MessageInput

WRONG = {
    MessageType.CODE: [("language", 3), ("format", ["html"]), ("title", {})],
    MessageType.CONSOLE: [("command", True)],
    MessageType.IMAGE: [("url", {"src": "x"})],
    MessageType.FUNCTION: [("name", 1), ("call_id", 7), ("is_error", "no")],
    MessageType.CONFIRMATION: [("id", 1), ("options", "yes"), ("options", [1]), ("schema", [])],
}
WRONG_DATA = [(type, name, value) for type, wrong in WRONG.items() for name, value in wrong]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(0.5) | st.sampled_from(["", "yes"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("a"), inner),
    max_leaves=5,
)
names = sorted({"mine", *(name for schema in DATA.values() for name in schema["properties"])})


def decode(**fields: Any) -> list[Any]:
    return Decoder().feed(lines(fields))


def test_every_type_has_a_schema_and_every_schema_is_one() -> None:
    assert set(DATA) == set(MessageType)
    for schema in DATA.values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("type", MessageType)
@given(data=st.dictionaries(st.sampled_from(names), values, max_size=4))
@example(data={"options": ["yes", 1]})
@example(data={"is_error": 1})
def test_a_schema_means_to_us_what_it_means_to_the_library(type: MessageType, data: dict[str, Any]) -> None:
    library = jsonschema.Draft202012Validator(DATA[type])
    assert (mistake(type, data) is None) == library.is_valid(data)
    kept, left_out = fitting(type, data)
    assert library.is_valid(kept)
    assert (kept == data) == (not left_out)


@pytest.mark.parametrize("type", ["picture", "Code", "confirm", 3, ["text"]], ids=str)
def test_no_other_type_passes(type: Any) -> None:
    for said in (decode(type="message", message_type=type), decode(type="start", ref="a", message_type=type)):
        [log] = said
        assert isinstance(log, Log) and '"message_type"' in log.text
    with pytest.raises(ValidationError, match="type"):
        MessageInput().load({"role": "user", "content": "", "type": type})


@pytest.mark.parametrize("type", MessageType)
def test_each_type_passes_with_data_of_its_own_and_more(type: MessageType) -> None:
    data = {**dict.fromkeys(DATA[type]["properties"]), "mine": [1]}
    [message] = decode(type="message", message_type=type, data=data)
    assert isinstance(message, CompleteMessage) and (message.type, message.data) == (type, data)
    [start] = decode(type="start", ref="a", message_type=type, data=data)
    assert isinstance(start, Start) and (start.type, start.data) == (type, data)
    assert MessageInput().load({"role": "user", "content": "", "type": type, "data": data}).data == data


@pytest.mark.parametrize(("type", "name", "value"), WRONG_DATA)
def test_a_worker_that_says_other_data_is_told_what_is_wrong(
    type: MessageType, name: str, value: Any
) -> None:
    for line in ({"type": "message"}, {"type": "start", "ref": "a"}):
        [log] = decode(**line, message_type=type, data={name: value})
        assert isinstance(log, Log)
        assert f'"data.{name}" of a message of type {type} must be ' in log.text


@pytest.mark.parametrize(("type", "name", "value"), WRONG_DATA)
def test_a_client_that_sends_other_data_is_told_which_field_is_wrong(
    type: MessageType, name: str, value: Any
) -> None:
    with pytest.raises(ValidationError) as refused:
        MessageInput().load({"role": "user", "content": "", "type": type, "data": {name: value}})
    [message] = refused.value.normalized_messages()["data"][name]
    assert message.startswith("must be ")


def test_what_does_not_fit_at_the_end_of_a_message_is_left_out_of_it() -> None:
    def agent(run: Any) -> None:
        code = run.start(type="code", data={"language": "python"})
        code.delta("1")
        code.end({"language": 3, "title": "one.py", "mine": 4})

    result = execute(agent, "hi")
    [message] = result.messages
    assert (message.content, message.status) == ("1", "complete")
    assert message.data == {"language": "python", "title": "one.py", "mine": 4}
    assert "left out of the data of a message of type code: language" in result.log


def test_a_message_that_is_handed_on_loses_only_what_does_not_fit() -> None:
    said = {"type": "code", "content": "1", "data": {"language": 3, "title": "one.py"}}
    [call] = decode(type="call", id="a", worker_id="echo", messages=[said])
    assert [message.data for message in call.messages] == [{"title": "one.py"}]


def test_a_code_and_what_it_prints_are_messages_that_stream() -> None:
    def agent(run: Any) -> Any:
        yield "See:"
        with run.code("python", format="script", title="count.py") as code:
            code.delta("for n in (1, 2):")
            code.delta("\n    print(n)")
        with run.console("python count.py") as console:
            console.delta("1\r")
            console.delta("\x1b[32m2\x1b[0m\n")
        with run.console() as console:
            console.delta("done")

    result = execute(agent, "hi")
    assert [(one.role, one.type, one.content, one.data) for one in result.messages] == [
        ("assistant", "text", "See:", {}),
        (
            "assistant",
            "code",
            "for n in (1, 2):\n    print(n)",
            {"language": "python", "format": "script", "title": "count.py"},
        ),
        ("tool", "console", "1\r\x1b[32m2\x1b[0m\n", {"command": "python count.py"}),
        ("tool", "console", "done", {}),
    ]
    assert [event["type"] for event in result.events[1:5]] == ["start", "delta", "delta", "end"]
