"""A gevent server with one stream: what is appended to a Redis stream, woken by pub/sub.

``python -m bench.floors.sse_server PORT REDIS_URL``
"""

# ruff: noqa: E402 - nothing may be imported before gevent has patched it
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import redis
from gevent.event import Event
from gevent.pywsgi import WSGIServer

from bench.floors.entries import LOG, NEWEST, WAKE


def serve(port: int, url: str) -> None:
    """Serve until killed."""
    client: Any = redis.Redis.from_url(url)

    def stream(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return _entries(client)

    WSGIServer(("127.0.0.1", port), stream, log=None).serve_forever()


def _entries(client: Any) -> Iterator[bytes]:
    woken = Event()
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(WAKE)

    def listen() -> None:
        for _ in listener.listen():
            woken.set()

    gevent.spawn(listen)
    yield b"retry: 1000\n\n"
    seen = int(client.get(NEWEST) or 0)
    while True:
        woken.wait()
        woken.clear()
        for entry, fields in client.xrange(LOG, f"{seen + 1}-0", "+"):
            seen = int(entry.split(b"-")[0])
            yield b"id: %d\ndata: %b\n\n" % (seen, fields[b"d"])


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
