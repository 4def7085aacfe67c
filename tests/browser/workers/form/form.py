"""Answers with its configuration."""

from __future__ import annotations

import json

from runtime.sdk import Run, worker


@worker.choices("word")
def words() -> list[str]:
    """Some of many."""
    return ["tea", "cup"]


def run(run: Run) -> str:
    """The configuration as it arrived, defaults and all."""
    return f"```json\n{json.dumps(run.config, sort_keys=True)}\n```"
