"""Whether a user of Redis has the rights that Branchline needs: each command is tried on keys of its own.

docs/how-to/deploy.md has the rule for ``ACL SETUSER``; a test holds it to this table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

import redis
from redis.exceptions import NoPermissionError, RedisError

from runtime.stream.connection import Link

Call = tuple[str | int, ...]


def _of_stream(key: str) -> Iterator[Call]:
    """What the event log and what lies beside it use, in and around the scripts; on keys that begin so."""
    yield from (("PING",), ("INFO", "server"), ("TIME",), ("PUBLISH", f"{key}:channel", "x"))
    text, fields, entries, items = (f"{key}:{kind}" for kind in ("text", "fields", "entries", "items"))
    yield from (
        ("SET", text, "x", "EX", 5), ("APPEND", text, "x"), ("STRLEN", text), ("GET", text),
        ("PEXPIRE", text, 5000), ("EXPIRE", text, 5), ("DEL", text),
        ("HSET", fields, "a", 1), ("HSETNX", fields, "a", 1), ("HINCRBY", fields, "a", 1),
        ("HGET", fields, "a"), ("HMGET", fields, "a"),
        ("HEXISTS", fields, "a"), ("HGETALL", fields), ("HKEYS", fields),
        ("HDEL", fields, "a"),
        ("XADD", entries, "MAXLEN", "~", 1, "*", "a", "b"), ("XRANGE", entries, "-", "+"),
        ("LPUSH", items, "x"), ("RPUSH", items, "x"), ("LLEN", items), ("LINDEX", items, 0),
        ("LRANGE", items, 0, 0), ("LTRIM", items, 0, 0),
        ("EVAL", "return 1", 0), ("EVALSHA", "0" * 40, 0),
        ("DEL", fields, entries, items),
    )  # fmt: skip


def missing(
    client: redis.Redis, calls: Iterable[Call], *, channels: Iterable[str] = (), patterns: Iterable[str] = ()
) -> list[str]:
    """What the client's user may not do, one line each: the command, and what Redis says.

    ``channels`` and ``patterns``: what it has to subscribe to. Raises RedisError where Redis is away.
    """
    lines = [line for call in calls if (line := _tried(client, call))]
    for command, names in (("subscribe", channels), ("psubscribe", patterns)):
        for name in names:
            with closing(client.pubsub()) as subscriber:  # type: ignore[no-untyped-call]
                try:
                    getattr(subscriber, command)(name)
                    subscriber.get_message(timeout=1)
                except NoPermissionError as error:
                    lines.append(f"{command.upper()} {name}: {error}")
    return lines


def missing_of_stream(link: Link) -> list[str]:
    """The same for the event log and what lies beside it."""
    key = f"{link.keys.prefix}:{{probe}}"
    return missing(link.client, _of_stream(key), channels=[f"{key}:channel"])


def _tried(client: redis.Redis, call: Call) -> str | None:
    try:
        client.execute_command(*call)  # type: ignore[no-untyped-call]
    except NoPermissionError as error:
        return f"{' '.join(str(part) for part in call[:2])}: {error}"
    except RedisError as error:
        if not isinstance(error, redis.exceptions.ResponseError):
            raise
    return None  # any other answer, such as that there is no such script, means that it may be asked
