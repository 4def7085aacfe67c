"""LangChain's Runnables: chat models, and chains of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from langchain_core.messages import convert_to_messages

from ..loader import Function
from .output import Output
from .rules import Rule, at
from .shapes import LANGCHAIN

if TYPE_CHECKING:
    from ..run import Run


def worker(runnable: Any, rules: Sequence[Rule], input: Callable[[Run], Any] | None) -> Function:
    """The worker's function. Raises TypeError where ``input`` has to say what it is given."""
    given = input or _input_of(runnable)

    async def run(run: Run) -> None:
        run.discard()  # a Runnable does not go on with half an answer
        stream = runnable.astream(given(run), {"configurable": {**run.config, "run": run}})
        with Output(run, rules, LANGCHAIN) as output:
            async with aclosing(stream):
                async for chunk in stream:
                    if isinstance(chunk, str):
                        output.say({"kind": "text", "text": chunk})
                    elif not output.chunk(chunk):
                        raise TypeError(
                            f"a Runnable yields text or messages, not {type(chunk).__name__}; "
                            "say what that means with a rule: serve(…, rules=[…])"
                        )

    return run


def _input_of(runnable: Any) -> Callable[[Run], Any]:
    """What it is given, by the schema of its input: messages, or what the user said last."""
    schema = runnable.get_input_jsonschema()
    names = list(schema.get("properties") or ())
    if "messages" in names:
        return lambda run: {"messages": _messages(run)}
    if len(names) == 1:
        return lambda run: {names[0]: _last(run)}
    if names:
        raise TypeError(
            f"the Runnable takes {', '.join(names)}; say what it is given: "
            "serve(runnable, input=lambda run: {…})"
        )
    return _last if at(schema, "type") == "string" else _messages


def _messages(run: Run) -> Any:
    return convert_to_messages(run.as_openai())


def _last(run: Run) -> str:
    return next((one.content for one in reversed(run.messages) if one.role == "user"), "")
