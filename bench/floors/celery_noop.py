"""A Celery worker with a gevent pool whose task does nothing but say that it ran.

``celery -A bench.floors.celery_noop worker -P gevent``, with its broker in FLOOR_REDIS.
"""

from __future__ import annotations

import os

import redis
from celery import Celery

_URL = os.environ["FLOOR_REDIS"]

app = Celery("floor", broker=_URL, set_as_current=False)
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,
    task_default_queue="floor",
)
_connections = redis.BlockingConnectionPool.from_url(_URL, max_connections=16, timeout=30)
_redis = redis.Redis(connection_pool=_connections)


@app.task(name="noop")  # type: ignore[untyped-decorator]
def noop(done_key: str) -> None:
    """Wake up whoever waits at the list ``done_key``."""
    _redis.lpush(done_key, b"1")
