"""How Flower is started: `branchline flower`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import kombu
from flower.urls import settings as tornado_settings
from flower.utils import broker

from runtime import logs
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


class _RabbitMQ:
    """Asks RabbitMQ for the lengths of queues by AMQP; Flower's own class needs the management plugin.

    Flower looks its classes up in ``flower.utils.broker``, so this one replaces theirs there;
    tests/contract/test_vendor_flower.py fails if a release no longer does.
    """

    def __init__(self, url: str, *_: object, **__: object) -> None:
        self._url = url

    async def queues(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """The lengths of the queues that exist."""
        return await asyncio.get_running_loop().run_in_executor(None, self._lengths, list(names))

    def _lengths(self, names: list[str]) -> list[dict[str, Any]]:
        found = []
        with kombu.Connection(self._url, connect_timeout=_settings.redis.connect_timeout) as connection:
            for name in names:
                try:
                    with connection.channel() as channel:
                        queue = channel.queue_declare(name, passive=True)
                except connection.channel_errors:  # the queue does not exist: no pool has consumed it
                    continue
                waiting = {"messages": queue.message_count, "messages_ready": queue.message_count}
                found.append({"name": name, **waiting, "consumers": queue.consumer_count})
        return found


broker.RabbitMQ = _RabbitMQ
