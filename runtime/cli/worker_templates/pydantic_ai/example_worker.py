"""An assistant that can add, as an agent of pydantic-ai."""

from __future__ import annotations

import os

from pydantic_ai import Agent

from runtime.sdk import serve

agent = Agent(
    f"openai:{os.environ.get('OPENAI_MODEL') or 'gpt-5.4-mini'}",
    instructions="Answer briefly.",
    defer_model_check=True,  # the key is there when it runs
)


@agent.tool_plain
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


run = serve(agent)
