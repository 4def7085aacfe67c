"""An assistant that can add, as an agent of OpenAI Agents."""

from __future__ import annotations

import os

from agents import Agent, function_tool

from runtime.sdk import serve


@function_tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


agent = Agent(
    name="Example worker",
    instructions="Answer briefly.",
    model=os.environ.get("OPENAI_MODEL") or "gpt-5.4-mini",
    tools=[add],
)

run = serve(agent)
