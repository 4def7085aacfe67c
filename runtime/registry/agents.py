"""What a worker is among agents: its role, and the style in which its model answers.

Both are for whoever puts agents together and for readers; no run is executed differently for them.
The roles have the names of GuiAgentLoopCore's agents as other names, in which its users know them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class AgentRole(StrEnum):
    """What an agent does for the others."""

    EXECUTOR = "executor"
    """Does a task."""
    PLANNER = "planner"
    """Splits a goal into tasks."""
    SUPERVISOR = "supervisor"
    """Judges what came of the tasks: joins it, asks for more, or stops."""
    THOUGHT = "thought"
    """Thinks before it answers."""
    CREW = "crew"
    """Has others do it."""
    OTHER = "other"
    """None of these."""

    @classmethod
    def _missing_(cls, value: object) -> AgentRole | None:
        name = str(value).lower()
        return cls._value2member_map_.get(_ALIASES.get(name, name))  # type: ignore[return-value]


class AgentStyle(StrEnum):
    """How a model says what it wants done."""

    TOOL_CALLING = "tool_calling"
    """It calls functions that its request offers."""
    STRUCTURED_CHAT = "structured_chat"
    """It answers in text, or in JSON that has been agreed upon."""

    @classmethod
    def _missing_(cls, value: object) -> AgentStyle | None:
        return cls._value2member_map_.get(str(value).lower())  # type: ignore[return-value]


_ALIASES: Final[Mapping[str, str]] = {"agent_executor": "executor", "llm_planner": "planner"}
"""Other names of roles, in lower case; the rest of the original's are the same."""
