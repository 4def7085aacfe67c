"""LangGraph's graphs.

What a graph has come to is saved after each of its steps: a later attempt says again what
was said until then, and goes on with the step after it. What interrupts it is asked of the
run's user. Its last checkpoint is kept in the run's state, so that the next run on the branch,
and no other branch, begins with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from langchain_core.messages import convert_to_messages
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from ..loader import Function
from ..messages import Json
from .checkpoints import Checkpoints
from .conversation import unseen
from .journal import Journal
from .output import Output
from .questions import Question, answer_of, questions_of
from .rules import Rule
from .shapes import LANGCHAIN

if TYPE_CHECKING:
    from ..run import Run

_NAME = "langgraph"
_LARGEST_STATE = 1_000_000
"""Bytes of JSON; the rest of a run's state has some room beside it."""
_NEW = object()
_STOP = object()
"""In place of an input: nothing was saved yet; the user does not want the graph to go on."""


def worker(graph: Any, rules: Sequence[Rule], input: Callable[[Run], Any] | None) -> Function:
    """The worker's function. Raises TypeError where the graph has no messages and there is no ``input``."""
    if not hasattr(graph, "astream"):
        graph = graph.compile()
    if input is None and "messages" not in graph.channels:
        raise TypeError(
            "the graph's state has no 'messages'; say what it is given: serve(graph, input=lambda run: {…})"
        )

    async def run(run: Run) -> None:
        with Output(run, rules, LANGCHAIN) as output:
            await _Execution(graph, run, output, input).execute()

    return run


class _Execution:
    """One attempt to execute a graph."""

    def __init__(self, graph: Any, run: Run, output: Output, input: Callable[[Run], Any] | None) -> None:
        self._run = run
        self._output = output
        self._input = input
        self._journal = Journal(run, output, _NAME)
        self._kept = f"{_NAME} {run.fields.get('worker_id', '')}"
        """Where the run's state has the graph's: several workers may take turns on a branch."""
        self._checkpoints = Checkpoints(self._save)
        self._streamed: dict[tuple[str | None, str | None], str] = {}
        """What models have streamed since the last step: by the task of a node, and the message's id."""
        self._graph = graph.copy(update={"checkpointer": self._checkpoints})
        self._config: RunnableConfig = {
            "configurable": {**run.config, "run": run, "thread_id": run.thread_id or "thread"}
        }

    async def execute(self) -> None:
        """Execute it, or go on where an earlier attempt was."""
        input = await self._restored()
        while input is not _STOP:
            await self._stream(input)
            state = await self._graph.aget_state(self._config)
            if not state.next:
                break
            questions = _questions(state)
            answers = await self._journal.ask(self._checkpoints.take(), questions)
            input = _resumed(state.interrupts, answers)
        self._keep()

    async def _restored(self) -> Any:
        """What the graph is given, once everything is as the last attempt has left it."""
        kept = self._run.state.get(self._kept) if isinstance(self._run.state, dict) else None
        if kept:
            self._checkpoints.restore(kept["checkpoint"])
        input = _NEW
        async for records, questions in self._journal.replay():
            self._checkpoints.restore(records)
            input = None
            if questions:
                state = await self._graph.aget_state(self._config)
                input = _resumed(state.interrupts, self._journal.answers(questions))
        return self._given(kept) if input is _NEW else input

    def _given(self, kept: Json) -> Any:
        """The conversation, or where the graph has a part of it already, what has come since."""
        if self._input is not None:
            return self._input(self._run)
        messages = unseen(self._run, kept["last"]) if kept else self._run.messages
        return {"messages": convert_to_messages(self._run.as_openai(messages=messages))}

    async def _stream(self, input: Any) -> None:
        modes = ["messages", "custom"]
        stream = self._graph.astream(
            input, self._config, stream_mode=modes, subgraphs=True, durability="sync"
        )
        async with aclosing(stream):
            async for _, mode, data in stream:
                if mode == "messages":
                    self._say(*data)
                elif isinstance(data, str):
                    self._run.step(data)
                else:
                    self._output.chunk(data)

    def _say(self, message: Any, about: dict[str, Any]) -> None:
        """Say a message or a piece of one; not what a node has copied from an answer that was streamed."""
        task = about.get("langgraph_checkpoint_ns")
        if message.type == "AIMessageChunk":
            if isinstance(message.content, str):
                place = task, message.id
                self._streamed[place] = self._streamed.get(place, "") + message.content
        elif message.type == "ai" and (task, str(message.content)) in self._told():
            return
        self._output.chunk(message)

    def _told(self) -> set[tuple[str | None, str]]:
        return {(task, text) for (task, _), text in self._streamed.items() if text}

    async def _save(self) -> None:
        """Save what the last step has come to."""
        self._streamed.clear()
        await self._journal.save(self._checkpoints.take())

    def _keep(self) -> None:
        """Keep the last checkpoint for the next run on the branch."""
        last = self._run.messages[-1].id if self._run.messages else None
        # A DeltaChannel has no value in a checkpoint, but is made of what was written since an earlier one.
        deltas = any(type(channel).__name__ == "DeltaChannel" for channel in self._graph.channels.values())
        records = self._checkpoints.history() if deltas else self._checkpoints.latest()
        kept = {"checkpoint": records, "last": last}
        state = dict(self._run.state) if isinstance(self._run.state, dict) else {}
        if len(json.dumps(kept)) <= _LARGEST_STATE:
            self._run.state = {**state, self._kept: kept}
        else:
            state.pop(self._kept, None)
            self._run.state = state
            self._run.log(
                "The graph's state is too large to be kept: the next run begins with the conversation.",
                level="warning",
            )


def _resumed(interrupts: Sequence[Any], answers: Sequence[Json]) -> Any:
    """What the graph is given with the user's answers."""
    if not interrupts:
        return None if answers == ["yes"] else _STOP
    remaining = iter(answers)
    return Command(resume={one.id: answer_of(one.value, remaining) for one in interrupts})


def _questions(state: Any) -> list[Question]:
    """What the graph waits for."""
    if not state.interrupts:
        return [Question(f"Continue with {', '.join(state.next)}?", ["yes", "no"])]
    return [question for one in state.interrupts for question in questions_of(one.value, one.response_schema)]
