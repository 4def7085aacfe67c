"""Functions that a configuration describes: what they return, whoever asked for the run says."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from runtime.sdk import Run
from runtime.sdk.tool_turns import Function

_NOTHING = {"type": "object", "properties": {}}


def has_some(run: Run) -> bool:
    """Whether the configuration has functions, or MCP servers."""
    return bool(run.config.get("functions") or run.config.get("mcp_servers"))


def of(run: Run) -> list[Function]:
    """Those of a run."""
    return [
        Function(
            one["name"],
            one.get("description", ""),
            one.get("parameters") or _NOTHING,
            partial(_ask, run, one["name"]),
        )
        for one in run.config.get("functions") or ()
    ]


def _ask(run: Run, _name: str, /, **arguments: Any) -> str:
    """Wait for what a call returns: the client that has sent the run answers, or its user."""
    shown = json.dumps(arguments, ensure_ascii=False, indent=2)
    answer = run.confirm(f"What does {_name} return?\n\n```json\n{shown}\n```")
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
