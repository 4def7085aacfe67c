"""An executor: a model does a task, with the tools of MCP servers if it is given some.

What the model has answered and what each tool has returned are durable steps: an attempt that is
lost pays for no answer and calls no tool again. Between two turns it reads what it is sent.

In a session that goes on by itself it has a tool more, which says that the goal is reached.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from typing import Any

with suppress(ImportError):  # runs with MCP servers say what is missing
    import mcp  # noqa: F401 - before the host forks, for it takes a second

from runtime.sdk import Failure, Run, chat_server
from runtime.sdk.tool_turns import Function, Toolbox, converse

_CLIENT = chat_server.client()
_INSTRUCTIONS = (
    "You are an executor. Do the task that you are given, and nothing beyond it. Your last answer is all "
    "that is seen of your work: it has the whole result, and says plainly what you could not do."
)
_GOES_ON = (
    "You are asked to go on until the goal is reached. Once it is, or nothing is left that you can do, call "
    "the function finish, and then give your last answer. Do not call it before."
)
_FINISH = Function(
    "finish",
    "Say that the goal is reached, or that you can do nothing more for it. You are not asked to go on then.",
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {"reason": {"type": "string", "description": "Why, in one sentence for the user."}},
        "required": ["reason"],
    },
    lambda reason="": "That is noted. Now give your last answer.",
)


def run(run: Run) -> None:
    """Do the task, with as many calls as it takes."""
    servers = run.config.get("mcp_servers") or {}
    # Whoever writes the configuration chooses the servers: none of them is within reach of the pool alone.
    with run.mcp(servers, public=True) if servers else nullcontext({}) as tools:
        finishes = _goes_on(run) and run.config.get("may_finish", True) and _FINISH.name not in tools
        toolbox = Toolbox(run, [_FINISH] if finishes else (), tools)
        parts = (run.config.get("system_prompt"), _INSTRUCTIONS, finishes and _GOES_ON)
        system = "\n\n".join(part for part in parts if part)
        conversation = run.as_openai(system=system, tools=bool(toolbox))
        if all(message["role"] == "system" for message in conversation):
            raise Failure("There is no task to do.")
        model = chat_server.model_of(run)
        before = len(conversation)
        converse(run, _CLIENT, model, conversation, toolbox)
        if finishes:
            # From what the model has said, not within the call: that is not made again in a later attempt.
            for reason in _reasons(conversation[before:]):
                run.finish(reason)


def _goes_on(run: Run) -> bool:
    """Whether its session has begun it by itself, with a prompt that nobody has written."""
    return bool(run.messages) and run.messages[-1].author == "auto"


def _reasons(said: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Those of the calls of finish, in order."""
    for message in said:
        for call in message.get("tool_calls", ()):
            if call["function"]["name"] == _FINISH.name:
                with suppress(ValueError, AttributeError):  # what cannot be read was told to the model
                    yield str(json.loads(call["function"]["arguments"] or "{}").get("reason", ""))
