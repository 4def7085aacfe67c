"""Addresses of Redis: the clients of the event log, of the queues and of Flower understand each alike."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from runtime.queue.app import make_celery
from runtime.settings import load
from runtime.stream import Link
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.waiting import until
from tests.support.sentinel import sentinel, wait_for_replica
from tests.support.watcher import assert_flower_watches


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("redis")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RedisServer]:
    """A Redis with a socket, and a user beside the default one."""
    with RedisServer(folder, "--unixsocket", str(folder / "socket")) as server:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("ACL", "SETUSER", "ada", "on", ">a/b c", "~*", "&*", "+@all")
        yield server


@pytest.mark.parametrize(
    ("address", "user", "database"),
    [
        ("redis://127.0.0.1:{port}/3", "default", 3),
        ("redis://ada:a%2Fb%20c@127.0.0.1:{port}/2", "ada", 2),
        ("redis://127.0.0.1:{port}?db=5", "default", 5),
        ("unix://{folder}/socket", "default", 0),
        ("unix://{folder}/socket?db=4", "default", 4),
        ("unix://ada:a%2Fb%20c@{folder}/socket?db=4", "ada", 4),
    ],
)
def test_both_clients_are_who_the_address_says_and_where(
    server: RedisServer, folder: Path, address: str, user: str, database: int
) -> None:
    url = address.format(port=server.port, folder=folder)

    assert both(url) == [(user, database)] * 2


def test_flower_shows_the_queues_and_the_tasks_at_a_socket(
    server: RedisServer, folder: Path, tmp_path: Path
) -> None:
    assert_flower_watches(f"unix://ada:a%2Fb%20c@{folder}/socket?db=4", tmp_path)


def test_what_celery_finds_in_the_environment_leads_to_no_other_broker(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", f"redis://127.0.0.1:{free_port()}/0")

    assert both(server.url) == [("default", 0)] * 2


def both(url: str) -> list[tuple[str, int]]:
    """As which user, and in which database, each client works."""
    settings = load({"REDIS_URL": url})
    link = Link(settings.redis_url, settings.redis)
    with make_celery(settings) as app, app.connection_for_write() as connection:
        found = [whoami(link.client), whoami(connection.default_channel.client)]
    link.close()
    return found


def whoami(client: redis.Redis) -> tuple[str, int]:
    key = uuid.uuid4().hex
    client.set(key, "x", ex=60)
    with redis.Redis(connection_pool=client.connection_pool) as same:
        about = same.client_info()
    return about["user"], int(about["db"])


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, RedisServer]]:
    """The port of a sentinel, and the replica of the primary that it watches."""
    folders = [tmp_path_factory.mktemp(name) for name in ("primary", "replica", "sentinel")]
    with ExitStack() as undo:
        primary = undo.enter_context(RedisServer(folders[0]))
        of_primary = ("--replicaof", "127.0.0.1", str(primary.port), "--repl-diskless-sync-delay", "0")
        replica = undo.enter_context(RedisServer(folders[1], *of_primary))
        until(lambda: is_up_to_date(replica), 30, "the replica is one")
        port = undo.enter_context(sentinel(folders[2], primary.port))
        wait_for_replica(port)
        yield port, replica


def url_of(port: int) -> str:
    """Of several sentinels one may be away."""
    return f"sentinel://127.0.0.1:{free_port()};sentinel://127.0.0.1:{port}/2?master_name=ours"


def test_sentinels_lead_both_clients_to_the_primary(watched: tuple[int, RedisServer]) -> None:
    url = url_of(watched[0])
    link = Link(url, load({}).redis)

    assert both(url) == [("default", 2)] * 2
    subscriber = link.new_pubsub_connection()
    subscriber.connect()
    subscriber.send("SUBSCRIBE", "channel")
    assert subscriber.receive(5)[0] == b"subscribe"
    assert link.publish("channel", b"x") == 1
    subscriber.close()
    link.close()


def test_sentinels_lead_flower_to_the_primary(watched: tuple[int, RedisServer], tmp_path: Path) -> None:
    assert_flower_watches(url_of(watched[0]), tmp_path)


@pytest.mark.soak  # a sentinel takes ten seconds
def test_both_clients_go_on_after_a_failover(watched: tuple[int, RedisServer]) -> None:
    port, replica = watched
    settings = load({"REDIS_URL": url_of(port)})
    link = Link(settings.redis_url, settings.redis)
    with make_celery(settings) as app:
        assert not reaches(replica, link)
        with app.connection_for_write() as connection:
            assert port_of(connection.default_channel.client) != replica.port
        with redis.Redis(port=port) as client:
            client.execute_command("SENTINEL", "FAILOVER", "ours")
        until(lambda: reaches(replica, link), 60, "the event log reaches the new primary")
        with app.connection_for_write() as connection:
            assert port_of(connection.default_channel.client) == replica.port
    link.close()


def is_up_to_date(replica: RedisServer) -> bool:
    with redis.Redis.from_url(replica.url) as client:
        return bool(client.info("replication").get("master_link_status") == "up")


def reaches(server: RedisServer, link: Link) -> bool:
    try:
        link.client.set("key", "value")
    except redis.RedisError:
        return False
    return port_of(link.client) == server.port


def port_of(client: redis.Redis) -> int:
    return int(client.info("server")["tcp_port"])
