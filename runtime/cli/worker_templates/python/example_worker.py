"""Answers with a greeting."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.sdk import Run


def run(run: Run) -> Iterator[str]:
    """Each piece that it yields appears in the conversation at once."""
    yield f"{run.config['greeting']}! "
    yield f"You said: {run.messages[-1].content}"
