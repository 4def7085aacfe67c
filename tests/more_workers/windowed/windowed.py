"""Says which messages it was given."""

from __future__ import annotations

from runtime.sdk import Run


def run(run: Run) -> str:
    """Their texts."""
    return " | ".join(message.content for message in run.messages)
