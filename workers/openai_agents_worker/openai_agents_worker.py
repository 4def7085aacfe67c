"""An agent of OpenAI Agents: a model that may ask for the time."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

try:
    from agents import Agent, function_tool, set_default_openai_api, set_tracing_disabled
except ImportError as error:
    raise ImportError(
        "the library agents is not installed where the pool runs; install it there: pip install openai-agents"
    ) from error

from runtime.sdk import serve

set_tracing_disabled(True)  # traces would be sent to OpenAI
if os.environ.get("OPENAI_BASE_URL"):
    set_default_openai_api("chat_completions")  # which nearly every server has


@function_tool
def clock() -> str:
    """The date and time now, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def instructions(context: Any, agent: Any) -> str:
    """What the model is told first."""
    return str(context.context.config.get("system_prompt") or "")


model = os.environ.get("OPENAI_MODEL") or "gpt-5.4-mini"
serve(Agent(name="Assistant", instructions=instructions, tools=[clock], model=model))
