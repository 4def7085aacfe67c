"""How Flower is started: `branchline flower`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import kombu
from flower.urls import settings as tornado_settings
from flower.utils import broker

from runtime import logs
from runtime.queue.app import app
from runtime.queue.messages import queue_prefix
from runtime.settings import current

_settings = current()
logs.configure(_settings)  # before Tornado does it in its own way

# Of "::" Tornado takes IPv6 alone; the web process is then reached by IPv4 as well.
address = "" if _settings.host == "::" else _settings.host
port = _settings.service.flower_port
url_prefix = _settings.flower_path.strip("/")
tornado_settings["xsrf_cookie_kwargs"] = {"path": f"/{url_prefix}"}  # not for all that its host has
basic_auth = [f"{_settings.flower.user}:{_settings.flower_password}"]

# Flower is for watching only: what it could do to a task or a worker is not known to the leases.
read_only = True

# A task's name shows worker and attempt, its arguments the run; its "worker" is the pool process.
tasks_columns = "name,args,state,received,runtime,worker"
max_tasks = 10000
natural_time = False
logging = "error"  # Flower warns of each pool that is just starting
purge_offline_workers = 60


class _Queues:
    """Asks the broker for the lengths of queues as every other process does.

    Flower's own classes need RabbitMQ's management plugin, ask no more than one sentinel, and
    know neither the user and the database of a socket nor whose certificates to accept. Flower
    looks them up in ``flower.utils.broker``, so this one replaces them there;
    tests/contract/test_vendor_flower.py fails if a release no longer does.
    """

    def __init__(self, *_: object, **__: object) -> None:
        """Flower gives it the broker's address, which ``app`` knows as well."""

    async def queues(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """How many messages wait in each queue; Flower also asks for one that Celery would use."""
        ours = [name for name in names if name.startswith(queue_prefix(app.installation))]
        return await asyncio.get_running_loop().run_in_executor(None, _lengths, ours)


def _lengths(names: Iterable[str]) -> list[dict[str, Any]]:
    with app.connection_for_read() as connection:
        return [{"name": name, "messages": _length(connection, name)} for name in names]


def _length(connection: kombu.Connection, name: str) -> int:
    try:
        with connection.channel() as channel:
            return int(channel.queue_declare(name, passive=True).message_count)
    except connection.channel_errors:  # nothing has been put into it
        return 0


for _name in ("RabbitMQ", "Redis", "RedisSentinel", "RedisSocket", "RedisSsl"):
    setattr(broker, _name, _Queues)
