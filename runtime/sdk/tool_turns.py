"""A model that calls tools, turn by turn: its own functions, and those of MCP servers.

What the model has answered and what each tool has returned are durable steps: an attempt that is
lost pays for no answer and calls no tool again, and shows again what it has. So a worker whose attempts
go on with the text of a lost one calls :meth:`runtime.sdk.run.Run.discard` first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from .durable_answers import ask
from .errors import Failure

if TYPE_CHECKING:
    from .run import Run

_YES = ("true", "1", "yes", "on")
MOST_TURNS = 20
"""How often a model may answer in one run, where nothing else is said."""

Fields = dict[str, Any]


class Function(NamedTuple):
    """A function of the worker that a model may call."""

    name: str
    description: str
    schema: Mapping[str, Any]
    """Of the arguments, a JSON Schema."""
    call: Callable[..., str]
    """Called with the arguments by name; what it raises is told to the model."""


class Toolbox:
    """All that a model may call in one run."""

    def __init__(self, run: Run, functions: Iterable[Function], servers: Any) -> None:
        """``servers``: tools of MCP servers, as ``run.mcp`` has them; or an empty mapping.

        Raises Failure where two have the same name.
        """
        self._run = run
        self._functions: dict[str, Function] = {}
        self._servers = servers
        for function in functions:
            if function.name in self._functions or function.name in servers:
                raise Failure(f"Two tools are called {function.name!r}; give one of them another name.")
            self._functions[function.name] = function

    def __bool__(self) -> bool:
        return bool(self._functions) or bool(self._servers)

    def as_openai(self, api: Any = "chat") -> list[Fields]:
        """The argument ``tools`` of OpenAI's library."""
        functions = [
            {"name": one.name, "description": one.description, "parameters": dict(one.schema)}
            for one in self._functions.values()
        ]
        others = self._servers.as_openai(api) if self._servers else []
        if api == "chat":
            return [*({"type": "function", "function": one} for one in functions), *others]
        return [*({"type": "function", "strict": False, **one} for one in functions), *others]

    def call(self, place: str, name: str, arguments: str, id: str) -> str:
        """Call one as a model asks for it, and show that: the text that the model is given.

        ``place``: of the call in the run, such as ``2.1`` for the first one of the second turn.
        ``arguments``: JSON as the model wrote it; ``id``: the model's, which some give twice.
        """
        run, key = self._run, f"call {place}"
        before = len(run._reached)

        def keep(result: str, failed: bool) -> list[Any]:
            """The step; a later attempt does not come by the questions that the call has asked."""
            saved: list[Any] = run.once(key, lambda: [result, failed, run._reached[before:]])
            return saved

        if not run.has_step(key) and name in self._servers:
            return str(keep(*self._servers._outcome(name, arguments, id))[0])
        with run.tool(name, _shown(arguments), id) as shown:
            if run.has_step(key):
                result, failed, *questions = keep("", False)
                run._pass(questions[0] if questions else ())
            else:
                result, failed, *_ = keep(*self._result(name, arguments))
            shown.result(result, is_error=failed)
        return str(result)

    def _result(self, name: str, arguments: str) -> tuple[str, bool]:
        """What a function of the worker returns, and whether that is an error."""
        if name not in self._functions:
            return f"Error: There is no tool {name}.", True
        try:
            return str(self._functions[name].call(**json.loads(arguments or "{}"))), False
        except Exception as error:
            return f"Error: {error}", True


def mcp_servers(run: Run, *, commands: str, private_urls: str) -> AbstractContextManager[Any]:
    """The tools of ``mcp_servers`` of the run's config, as a block.

    Who writes a config chooses the servers. So none is started, and none in a private network asked,
    unless the variables of these names say so. Raises Failure.
    """
    servers: Mapping[str, Mapping[str, Any]] = run.config.get("mcp_servers") or {}
    started = [name for name, server in servers.items() if "command" in server]
    if started and not is_on(commands):
        raise Failure(
            f"The MCP server {started[0]!r} is a command, and this installation starts none that a "
            f"configuration names. Whoever operates it can allow that with {commands}=true."
        )
    return run.mcp(servers, public=not is_on(private_urls)) if servers else nullcontext({})


def converse(
    run: Run, client: Any, model: str, conversation: list[Fields], toolbox: Toolbox, **request: Any
) -> None:
    """Have a model answer by chat completions, with as many calls as it takes.

    ``client``: of OpenAI's library; ``request``: what else the model is asked with. Between two turns it
    is told what the user has sent meanwhile. Raises Failure.
    """
    if toolbox:  # some servers refuse an empty list
        request["tools"] = toolbox.as_openai()
    for turn in range(1, run.config.get("max_turns", MOST_TURNS) + 1):
        answer = ask(run, f"answer {turn}", client, model, conversation, **request)
        conversation.append(answer)
        for number, call in enumerate(answer.get("tool_calls", ()), 1):
            called = call["function"]
            result = toolbox.call(f"{turn}.{number}", called["name"], called["arguments"], call["id"])
            conversation.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        news = run.as_openai(messages=list(run.inbox()), pictures=run.config.get("pictures", True))
        conversation += news
        if not news and "tool_calls" not in answer:
            return
    raise too_many_turns()


def is_on(name: str) -> bool:
    """Whether the variable of this name says yes."""
    return os.environ.get(name, "").lower() in _YES


def too_many_turns() -> Failure:
    """The failure of a run whose model calls tools without end."""
    return Failure("The agent has not come to an end within the turns that it may have.")


def _shown(arguments: str) -> Any:
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments
