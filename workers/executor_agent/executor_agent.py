"""An executor: a model does a task, with the tools of MCP servers if it is given some.

What the model has answered and what each tool has returned are durable steps: an attempt that is
lost pays for no answer and calls no tool again. Between two turns it reads what it is sent.
"""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress

try:
    import openai
except ImportError as error:
    raise ImportError(
        "the library openai is not installed where the pool runs; "
        "install it there: pip install 'branchline[workers]'"
    ) from error
with suppress(ImportError):  # runs with MCP servers say what is missing
    import mcp  # noqa: F401 - before the host forks, for it takes a second

from runtime.sdk import Failure, Run
from runtime.sdk.tool_turns import Toolbox, converse

_MODEL = "gpt-5.4-mini"
_CLIENT = openai.OpenAI(
    api_key=os.environ.get("OPENAI_API_KEY", ""), base_url=os.environ.get("OPENAI_BASE_URL") or None
)
_INSTRUCTIONS = (
    "You are an executor. Do the task that you are given, and nothing beyond it. Your last answer is all "
    "that is seen of your work: it has the whole result, and says plainly what you could not do."
)


def run(run: Run) -> None:
    """Do the task, with as many calls as it takes."""
    servers = run.config.get("mcp_servers") or {}
    # Whoever writes the configuration chooses the servers: none of them is within reach of the pool alone.
    with run.mcp(servers, public=True) if servers else nullcontext({}) as tools:
        prompt = run.config.get("system_prompt")
        system = f"{prompt}\n\n{_INSTRUCTIONS}" if prompt else _INSTRUCTIONS
        conversation = run.as_openai(system=system, tools=bool(tools))
        if all(message["role"] == "system" for message in conversation):
            raise Failure("There is no task to do.")
        model = run.config.get("model") or os.environ.get("OPENAI_MODEL") or _MODEL
        converse(run, _CLIENT, model, conversation, Toolbox(run, (), tools))
