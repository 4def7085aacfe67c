"""A chat model of LangChain that says what a function makes of the conversation, word by word."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field


class ScriptedChatModel(BaseChatModel):
    """Each request uses ten tokens, and each word one."""

    answer: Callable[[list[BaseMessage]], AIMessage]
    requests: list[list[tuple[str, Any]]] = Field(default_factory=list)
    """What it was asked, each time: type and content of the messages."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **arguments: Any,
    ) -> ChatResult:
        self.requests.append([(message.type, message.content) for message in messages])
        return ChatResult(generations=[ChatGeneration(message=self.answer(messages))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **arguments: Any,
    ) -> Iterator[ChatGenerationChunk]:
        said = self._generate(messages).generations[0].message
        assert isinstance(said, AIMessage)
        for chunk in self._chunks(said):
            piece = ChatGenerationChunk(message=chunk)
            if run_manager:
                run_manager.on_llm_new_token(str(chunk.content), chunk=piece)
            yield piece

    def _chunks(self, said: AIMessage) -> Iterator[AIMessageChunk]:
        words = str(said.content).split(" ") if said.content else []
        for number, word in enumerate(words):
            yield AIMessageChunk(content=word if number == len(words) - 1 else word + " ")
        for index, call in enumerate(said.tool_calls):
            text = json.dumps(call["args"])
            for args, name in ((text[:4], call["name"]), (text[4:], None)):
                piece = {"index": index, "id": call["id"] if name else None, "name": name, "args": args}
                yield AIMessageChunk(content="", tool_call_chunks=[{**piece, "type": "tool_call_chunk"}])  # type: ignore[typeddict-item]
        usage = {"input_tokens": 10, "output_tokens": len(words), "total_tokens": 10 + len(words)}
        yield AIMessageChunk(content="", usage_metadata=usage, chunk_position="last")  # type: ignore[arg-type]
