# ruff: noqa: E402 - the libraries may be missing
"""serve(): LangChain's Runnables, the real library with a model that says what it is told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.frameworks import need

need("langchain_core")

from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from runtime.sdk import serve
from runtime.sdk.testing import execute
from tests.support.scripted_chat_model import ScriptedChatModel

pytestmark = pytest.mark.frameworks

CONVERSATION: list[Any] = ["hi", {"role": "assistant", "content": "hello"}, "and you?"]


@pytest.fixture
def model() -> ScriptedChatModel:
    return ScriptedChatModel(answer=lambda messages: AIMessage(f"after {len(messages)} messages"))


def test_a_chat_model_is_given_the_conversation(model: ScriptedChatModel) -> None:
    result = execute(serve(model), CONVERSATION)
    assert (result.status, result.text) == ("success", "after 3 messages")
    assert [one.content for one in result.messages] == ["after 3 messages"]
    assert result.usage == {"input_tokens": 10, "output_tokens": 3}
    assert model.requests == [[("human", "hi"), ("ai", "hello"), ("human", "and you?")]]


def test_a_chain_is_given_messages_or_what_was_said_last(model: ScriptedChatModel) -> None:
    whole = ChatPromptTemplate([("system", "Be brief."), ("placeholder", "{messages}")]) | model
    assert execute(serve(whole), CONVERSATION).text == "after 4 messages"

    last = ChatPromptTemplate([("system", "Be brief."), ("human", "{question}")]) | model | StrOutputParser()
    assert execute(serve(last), CONVERSATION).text == "after 2 messages"
    assert model.requests[-1] == [("system", "Be brief."), ("human", "and you?")]


def test_a_chain_that_takes_more_is_given_what_input_makes(model: ScriptedChatModel) -> None:
    chain = ChatPromptTemplate([("human", "{a} and {b}")]) | model
    with pytest.raises(TypeError, match=r"the Runnable takes a, b; say what it is given"):
        serve(chain)
    execute(serve(chain, input=lambda run: {"a": "one", "b": "two"}), "hi")
    assert model.requests[-1] == [("human", "one and two")]


def test_a_runnable_that_yields_something_else_needs_a_rule() -> None:
    runnable = RunnableLambda(lambda text: {"answer": "so"})
    assert "a Runnable yields text or messages, not dict" in str(execute(serve(runnable), "hi").error)
    assert execute(serve(runnable, rules=[{"when": {"answer": ...}, "text": "answer"}]), "hi").text == "so"
