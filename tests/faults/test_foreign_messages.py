"""A queue that holds what is no message of ours: it is dropped and counted, and the pool lives on."""

from __future__ import annotations

import base64
import json
import pickle
import uuid
import zlib
from collections.abc import Iterator

import pytest
import redis

from runtime.queue.app import make_celery
from runtime.queue.messages import TASK
from runtime.settings import load
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.metrics import figure

QUEUE = "runs.python"
RUN = str(uuid.uuid4())
QUICK = {"BRANCHLINE_REAPER_PUBLISH_GRACE": "1", "BRANCHLINE_POOL_LEASE": "4", "BRANCHLINE_POOL_RENEW": "0.2"}
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def headers(**more: object) -> dict:
    return {"lang": "py", "task": TASK, "id": str(uuid.uuid4()), "retries": 0, "eta": None, **more}


def body(*args: object, **embed: object) -> bytes:
    return json.dumps([list(args), {}, {**EMBED, **embed}]).encode()


BODIES: dict[str, tuple[bytes, str, str, dict]] = {
    "an unknown task": (body(RUN), "application/json", "utf-8", headers(task="celery.ping")),
    "a task of Celery's": (body(RUN), "application/json", "utf-8", headers(task="celery.backend_cleanup")),
    "no headers": (body(RUN), "application/json", "utf-8", {}),
    "an old protocol": (json.dumps({"task": TASK, "id": "1", "args": [RUN]}).encode(), "application/json",
                        "utf-8", {}),
    "no arguments": (body(), "application/json", "utf-8", headers()),
    "two arguments": (body(RUN, RUN), "application/json", "utf-8", headers()),
    "a number": (body(7), "application/json", "utf-8", headers()),
    "no run": (body("x' OR 1=1"), "application/json", "utf-8", headers()),
    "a list": (b"[]", "application/json", "utf-8", headers()),
    "no JSON": (b"\xff\xfe rubbish", "application/json", "utf-8", headers()),
    "a pickle": (pickle.dumps([[RUN], {}, EMBED]), "application/x-python-serialize", "binary", headers()),
    "another encoding": (body(RUN), "application/json", "latin-99", headers()),
    "YAML": (b"!!python/object/apply:os.getpid []", "application/x-yaml", "utf-8", headers()),
    "compressed": (zlib.compress(b"0" * (64 << 20)), "application/json", "utf-8",
                   headers(compression="application/x-gzip")),
    "later": (body(RUN), "application/json", "utf-8", headers(eta="9999-12-31T23:59:59")),
    "a wrong time": (body(RUN), "application/json", "utf-8", headers(eta="tomorrow")),
    "expired": (body(RUN), "application/json", "utf-8", headers(expires="1970-01-01T00:00:00")),
    "a time limit": (body(RUN), "application/json", "utf-8", headers(timelimit=[1, "x"])),
    "a callback": (body(RUN, callbacks=[{"task": "celery.ping"}]), "application/json", "utf-8", headers()),
    "a number for an id": (body(RUN), "application/json", "utf-8", headers(id=7)),
    "huge": (body("x" * (5 << 20)), "application/json", "utf-8", headers()),
    "deep": (b"[" * 100_000, "application/json", "utf-8", headers()),
    "empty": (b"", "application/json", "utf-8", headers()),
}  # fmt: skip


def raw(name: str) -> str:
    """A message as kombu keeps it in Redis."""
    content, content_type, encoding, about = BODIES[name]
    info = {"exchange": "", "routing_key": QUEUE}
    properties = {"body_encoding": "base64", "delivery_tag": str(uuid.uuid4()), "delivery_info": info}
    return json.dumps(
        {
            "body": base64.b64encode(content).decode(),
            "content-type": content_type,
            "content-encoding": encoding,
            "headers": about,
            "properties": {**properties, "delivery_mode": 2, "priority": 0},
        }
    )


GOOD = json.loads(raw("no run")) | {"headers": headers()}
ELEMENTS: list[bytes | str] = [
    b"", b"rubbish", b"\xff\xfe\x00", b"null", b"7", b"[]", b"{}", b'"text"', b"[" * 100_000, b"{" * 50,
    b'{"__type__": "decimal", "__value__": "x"}', b"x" * (5 << 20),
    *(raw(name) for name in BODIES),
    *(json.dumps({key: value for key, value in GOOD.items() if key != missing}) for missing in GOOD),
    *(json.dumps(GOOD | {key: wrong}) for key in GOOD for wrong in (None, 7, [], "x", {})),
    *(json.dumps(GOOD | {"properties": GOOD["properties"] | {key: None}}) for key in GOOD["properties"]),
]  # fmt: skip
"""What a list in Redis may hold. None of it is a message of ours: ``GOOD`` names no run."""


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, broker_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    database_url = f"sqlite:///{home}/branchline.db"
    with Stack(home, database_url, stack_redis.url, BROKER_URL=broker_url, **QUICK) as stack:
        yield stack


def dropped(client: Client) -> float:
    """What the metric says."""
    return figure(client, "dropped_messages", pool="python")


def assert_works(stack: Stack, client: Client, process: int) -> None:
    """A run goes through, and the pool process is the one it was."""
    run = client.wait(client.ask(client.thread(), "Hello")["runs"][0])["run"]
    assert (run["status"], run["attempt"]) == ("success", 1)
    assert stack.pool_process() == process


def test_messages_that_are_none_of_ours_are_dropped_and_counted(stack, client, broker_url):
    process, before = stack.pool_process(), dropped(client)
    with make_celery(load({"BROKER_URL": broker_url})) as app, app.connection_for_write() as connection:
        producer = connection.Producer()
        for content, content_type, encoding, about in BODIES.values():
            producer.publish(
                content,
                routing_key=QUEUE,
                headers=about,
                content_type=content_type,
                content_encoding=encoding,
            )
    until(lambda: dropped(client) == before + len(BODIES), what="every message is counted")
    assert_works(stack, client, process)


@pytest.fixture
def broker(stack_redis: RedisServer, broker_url: str) -> Iterator[redis.Redis]:
    if broker_url != stack_redis.url:
        pytest.skip("for Redis")
    with redis.Redis.from_url(broker_url) as client:
        yield client


def test_whatever_a_list_in_redis_holds_is_dropped_and_counted(stack, client, broker):
    process, before = stack.pool_process(), dropped(client)
    broker.lpush(QUEUE, *ELEMENTS)
    until(lambda: dropped(client) == before + len(ELEMENTS), what="every element is counted")
    assert_works(stack, client, process)


@pytest.mark.parametrize("make", ["set", "hash", "stream"])
def test_a_key_of_another_type_is_no_queue(stack, client, broker, make):
    process, before = stack.pool_process(), dropped(client)
    with broker.pipeline() as atomic:
        atomic.delete(QUEUE)
        {"set": atomic.sadd, "hash": lambda key, _: atomic.hset(key, "a", "b"),
         "stream": lambda key, _: atomic.xadd(key, {"a": "b"})}[make](QUEUE, "x")  # fmt: skip
        atomic.execute()
    until(lambda: dropped(client) == before + 1, what="the key is deleted")
    assert_works(stack, client, process)


def test_bindings_that_are_lost_or_of_another_type_hinder_nothing(stack, client, broker):
    broker.delete("_kombu.binding.runs")
    broker.set("_kombu.binding.runs", "x")
    assert_works(stack, client, stack.pool_process())


def test_rubbish_for_the_workers_remote_control_hinders_nothing(stack, client, broker):
    for element in ELEMENTS:
        broker.publish("/0.celery.pidbox", element)
    assert_works(stack, client, stack.pool_process())
