"""What an error of Redis means: Redis is busy or away, or the fault is ours.

A run goes on without Redis, and everything that Redis holds can be made again. So what
Redis refuses to everybody (its memory is full, it lacks a right, it is a replica) counts
as an absence too. What it refuses because of what was asked (a script that fails) does not.

Every class that redis-py defines is in a table here; ``tests/integration/stream/test_redis_errors.py``
fails when a new version brings one that is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from redis import exceptions


def is_away(error: BaseException) -> bool:
    """Whether this error says that Redis is busy or away, or that the connection to it has ended."""
    if isinstance(error, OSError):
        return True
    kind = next((kind for kind in type(error).__mro__ if kind in AWAY), None)
    if kind is exceptions.ResponseError:
        return _REFUSES_ALL.search(str(error)) is not None
    return kind is not None and AWAY[kind]


_REFUSES_ALL = re.compile(
    r"(?:^|-)(?:BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|MISCONF|NOAUTH|NOPERM|NOREPLICAS|OOM|READONLY|TRYAGAIN"
    r"|UNKILLABLE)\b"
)
"""Codes of answers that do not depend on what was asked. Redis 6 has them within a script's error."""

AWAY: Mapping[type[BaseException], bool] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                exceptions.AuthenticationError,
                exceptions.AuthenticationWrongNumberOfArgsError,
                exceptions.AuthorizationError,
                exceptions.BusyLoadingError,
                exceptions.ClusterDownError,
                exceptions.ConnectionError,
                exceptions.ExternalAuthProviderError,
                exceptions.InvalidResponse,  # nothing that follows on this connection can be understood
                exceptions.MasterDownError,
                exceptions.MaxConnectionsError,
                exceptions.NoPermissionError,
                exceptions.NoScriptError,  # it has lost the script since it was sent
                exceptions.OutOfMemoryError,
                exceptions.ReadOnlyError,
                exceptions.TimeoutError,
                exceptions.TryAgainError,
            ),
            True,
        ),
        **dict.fromkeys(
            (
                exceptions.RedisError,
                exceptions.AskError,
                exceptions.ChildDeadlockedError,
                exceptions.ClusterCrossSlotError,
                exceptions.ClusterError,
                exceptions.CrossSlotTransactionError,
                exceptions.DataError,
                exceptions.ExecAbortError,
                exceptions.IncorrectPolicyType,
                exceptions.InvalidPipelineStack,
                exceptions.LockError,
                exceptions.LockNotOwnedError,
                exceptions.ModuleError,
                exceptions.MovedError,
                exceptions.NoSuchFieldsetError,
                exceptions.PubSubError,
                exceptions.RedisClusterException,
                exceptions.ResponseError,
                exceptions.SlotNotCoveredError,
                exceptions.WatchError,
            ),
            False,
        ),
    }
)
"""Each class of redis-py's errors; the text of a plain ResponseError decides."""
