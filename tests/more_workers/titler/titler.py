"""Makes a title that shows what it was made of."""

from __future__ import annotations

from runtime.sdk import Run


def run(run: Run) -> str:
    """Names the conversation after its first question and its first answer."""
    question, answer = run.messages[:2]
    return f"On {question.content.split()[-1]} and {answer.content.split()[-1]}"
