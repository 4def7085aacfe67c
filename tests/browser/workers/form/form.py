"""Answers with its configuration."""

from __future__ import annotations

import json

from runtime.sdk import Run


def run(run: Run) -> str:
    """The configuration as it arrived, defaults and all."""
    return f"```json\n{json.dumps(run.config, sort_keys=True)}\n```"
