"""An agent of pydantic-ai: a model that may ask for the time."""

from __future__ import annotations

import os
from datetime import UTC, datetime

try:
    from pydantic_ai import Agent, RunContext
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.profiles.openai import OpenAIModelProfile
except ImportError as error:
    raise ImportError(
        "the library pydantic_ai is not installed where the pool runs; "
        "install it there: pip install 'pydantic-ai-slim[openai]'"
    ) from error

from runtime.sdk import Run, serve


def clock() -> str:
    """The date and time now, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


model = OpenAIChatModel(
    os.environ.get("OPENAI_MODEL") or "gpt-5.4-mini",
    profile=OpenAIModelProfile(
        openai_chat_streaming_requires_finish_reason=True
    ),  # else half an answer is one
)
agent = Agent(model, deps_type=Run, tools=[clock])


@agent.instructions
def instructions(context: RunContext[Run]) -> str:
    """What the model is told first."""
    return str(context.deps.config.get("system_prompt") or "")


serve(agent)
