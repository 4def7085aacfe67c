"""What the check of a definition finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runtime.model import Json


class Severity(StrEnum):
    """Whether a system can be started in spite of a problem."""

    ERROR = "error"
    WARNING = "warning"


class Code(StrEnum):
    """What is wrong."""

    DUPLICATE_ENTITY = "duplicate_entity"
    DUPLICATE_CHANNEL = "duplicate_channel"
    TOO_LARGE = "too_large"
    """More entities and channels than can be followed."""
    UNKNOWN_ENTITY = "unknown_entity"
    WRONG_ENDS = "wrong_ends"
    """A channel does not name two ends, or names one in two ways."""
    NOBODY_HAS = "nobody_has"
    """No entity has the components of a channel."""
    WRONG_COMPONENT = "wrong_component"
    WRONG_FILTER = "wrong_filter"
    WRONG_MAP = "wrong_map"
    WRONG_SCHEMA = "wrong_schema"
    UNKNOWN_WORKER = "unknown_worker"
    WORKER_UNAVAILABLE = "worker_unavailable"
    WRONG_CONFIG = "wrong_config"
    NO_WAY_IN = "no_way_in"
    """No channel leads to an entity that is no entry."""
    SCHEMA_MISMATCH = "schema_mismatch"
    QUERY_CYCLE = "query_cycle"
    """Entities ask each other without end."""
    NOT_CHECKED = "not_checked"
    """The check has taken as long as it may."""


Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a definition."""

    code: Code
    severity: Severity
    path: Path
    """Where, outermost first."""
    message: str

    def encode(self) -> dict[str, Json]:
        """The problem as the API shows it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "path": ".".join(map(str, self.path)),
            "message": self.message,
        }
