"""Notices against a real Redis."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.settings import Settings
from runtime.stream import Link, Notices
from runtime.testing.redis_server import RedisServer

RUN = "run-1"


@pytest.fixture
def notices(link: Link) -> Notices:
    return Notices(link)


def test_a_pool_receives_its_own_messages_only(notices: Notices) -> None:
    messages = notices.pool_messages("mine", "python")
    assert next(messages) == {"type": "connected"}
    notices.to_pool("other", {"type": "cancel", "run_id": "x"})
    notices.to_pool("mine", {"type": "cancel", "run_id": RUN})
    assert next(messages) == {"type": "cancel", "run_id": RUN}


def test_all_processes_of_a_pool_are_told_that_a_sub_run_waits(notices: Notices) -> None:
    ones, anothers = notices.pool_messages("one", "python"), notices.pool_messages("other", "node")
    assert next(ones) == next(anothers) == {"type": "connected"}
    notices.to_pool_of_calls("python")
    notices.to_pool_of_calls("node")
    assert next(ones) == next(anothers) == {"type": "calls"}
    notices.to_pool("one", {"type": "cancel"})
    assert next(ones) == {"type": "cancel"}


def test_a_pool_whose_connection_is_cut_learns_that_it_may_have_missed_messages(
    notices: Notices, link: Link
) -> None:
    messages = notices.pool_messages("mine", "python")
    for _ in range(3):
        assert next(messages) == {"type": "connected"}
        link.client.client_kill_filter(_type="pubsub")
    assert next(messages) == {"type": "connected"}
    notices.to_pool("mine", {"type": "cancel"})
    assert next(messages) == {"type": "cancel"}


def test_a_pool_receives_messages_again_after_a_restart_of_redis(
    own_redis: RedisServer, settings: Settings
) -> None:
    link = Link(own_redis.url, settings.redis)
    notices = Notices(link)
    messages = notices.pool_messages("mine", "python")
    next(messages)
    with ThreadPoolExecutor(1) as pool:
        own_redis.kill()
        following = pool.submit(next, messages)
        own_redis.start()
        assert following.result(timeout=20) == {"type": "connected"}
    notices.to_pool("mine", {"type": "cancel"})
    assert next(messages) == {"type": "cancel"}
    link.close()
