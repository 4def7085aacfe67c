"""A model that calls tools, turn by turn, behind an OpenAI-compatible API.

What the model has answered and what each tool has returned are durable steps: an attempt that is
lost pays for no answer and calls no tool again. Between two turns it reads what the user has sent.
"""

from __future__ import annotations

from contextlib import suppress

with suppress(ImportError):  # runs with MCP servers say what is missing
    import mcp  # noqa: F401 - before the host forks, for it takes a second

import agent_tools

from runtime.sdk import Run, chat_server, worker
from runtime.sdk.tool_turns import Toolbox, converse, mcp_servers

_CLIENT = chat_server.client()
_INSTRUCTIONS = "Use your tools where they help, and say what you have found."


@worker.choices("model")
def models() -> list[str]:
    """Those of the server that this installation has chosen."""
    client = _CLIENT.with_options(timeout=10, max_retries=0)
    return sorted(model.id for model in client.models.list())


def run(run: Run) -> None:
    """Answer, with as many calls as it takes."""
    model = chat_server.model_of(run)
    with mcp_servers(run, commands="TOOL_AGENT_COMMANDS", private_urls="TOOL_AGENT_PRIVATE_URLS") as servers:
        toolbox = Toolbox(run, agent_tools.of(run), servers)
        converse(run, _CLIENT, model, run.as_openai(system=_system(run)), toolbox)


def _system(run: Run) -> str:
    notes = run.state.get("notes") if isinstance(run.state, dict) else None
    parts = [run.config.get("system_prompt"), _INSTRUCTIONS]
    if notes:
        parts.append("Notes that you have kept:\n" + "\n".join(f"- {note}" for note in notes))
    return "\n\n".join(part for part in parts if part)
