"""A sentinel of its own port and folder, for the tests of a Redis that one watches."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from runtime.cli.embedded_redis import find_program
from runtime.testing.ports import free_port
from runtime.testing.waiting import until

NAME = "ours"


@contextmanager
def sentinel(folder: Path, primary: int, tls: Mapping[str, str] | None = None) -> Iterator[int]:
    """A sentinel that watches the primary at that port as :data:`NAME`; its port.

    ``tls``: lines of its configuration, with which it and the primary speak TLS.
    """
    port = free_port()
    over_tls = ["port 0", f"tls-port {port}", "tls-replication yes", "tls-auth-clients no"]
    lines = [
        *(over_tls if tls else [f"port {port}"]),
        *(f"{name} {value}" for name, value in (tls or {}).items()),
        f"bind 127.0.0.1\ndir {folder}",
        f"sentinel monitor {NAME} 127.0.0.1 {primary} 1",
        f"sentinel down-after-milliseconds {NAME} 60000",
    ]
    file = folder / "sentinel.conf"
    file.write_text("\n".join(lines) + "\n")
    command = [find_program(), str(file), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        options: dict[str, Any] = {"ssl": True, "ssl_cert_reqs": "none"} if tls else {}
        with redis.Redis(port=port, **options) as client:
            until(lambda: _answers(client), 30, "the sentinel answers")
        yield port
    finally:
        process.kill()
        process.wait()


def wait_for_replica(port: int) -> None:
    """Wait until the sentinel at that port has found the primary's replica."""
    with redis.Redis(port=port) as client:
        with suppress(redis.ResponseError):  # Redis 6 cannot look more often than each ten seconds
            client.execute_command("SENTINEL", "DEBUG", "info-period", "200")
        until(lambda: _knows_a_replica(client), 30, "the sentinel has found the replica")


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _knows_a_replica(client: redis.Redis) -> bool:
    replicas = client.sentinel_slaves(NAME)
    return any(one["master-link-status"] == "ok" and not one["is_disconnected"] for one in replicas)
