"""Notices and inboxes against a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.errors import StaleAttempt
from runtime.model import new_id
from runtime.settings import Settings
from runtime.stream import EventLog, Link, Notices
from runtime.stream.notices import INBOX_BYTES, INBOX_LINES
from testbed.redis_server import RedisServer

RUN = "run-1"


@pytest.fixture
def link(redis_url: str, settings: Settings) -> Iterator[Link]:
    link = Link(redis_url, settings.redis)
    yield link
    link.close()


@pytest.fixture
def notices(link: Link) -> Notices:
    return Notices(link)


@pytest.fixture
def thread() -> str:
    return new_id()


def test_a_pool_hears_what_is_sent_to_it_and_nothing_else(notices: Notices) -> None:
    heard = notices.pool_messages("mine")
    assert next(heard) == {"type": "connected"}
    notices.to_pool("other", {"type": "cancel", "run_id": "x"})
    notices.to_pool("mine", {"type": "cancel", "run_id": RUN})
    assert next(heard) == {"type": "cancel", "run_id": RUN}


def test_a_pool_whose_connection_is_cut_is_told_that_it_may_have_missed_something(
    notices: Notices, link: Link
) -> None:
    heard = notices.pool_messages("mine")
    for _ in range(3):
        assert next(heard) == {"type": "connected"}
        link.client.client_kill_filter(_type="pubsub")
    assert next(heard) == {"type": "connected"}
    notices.to_pool("mine", {"type": "cancel"})
    assert next(heard) == {"type": "cancel"}


def test_a_pool_hears_again_after_a_restart_of_redis(own_redis: RedisServer, settings: Settings) -> None:
    link = Link(own_redis.url, settings.redis)
    notices = Notices(link)
    heard = notices.pool_messages("mine")
    next(heard)
    with ThreadPoolExecutor(1) as pool:
        own_redis.kill()
        following = pool.submit(next, heard)
        own_redis.start()
        assert following.result(timeout=20) == {"type": "connected"}
    notices.to_pool("mine", {"type": "cancel"})
    assert next(heard) == {"type": "cancel"}
    link.close()


def test_an_inbox_gives_lines_in_order_and_each_once(notices: Notices, thread: str) -> None:
    assert notices.inbox_pop(thread, RUN, 1, 10) == []
    assert notices.inbox_push(thread, RUN, 1, [b"a", b"b", b"c"])
    assert notices.inbox_push(thread, RUN, 1, [b"d"])
    assert notices.inbox_pop(thread, RUN, 1, 2) == [b"a", b"b"]
    assert notices.inbox_push(thread, RUN, 1, [b"e"])
    assert notices.inbox_pop(thread, RUN, 1, 10) == [b"c", b"d", b"e"]
    assert notices.inbox_pop(thread, RUN, 1, 10) == []


def test_lines_whose_answer_was_lost_come_again(notices: Notices, thread: str, link: Link) -> None:
    notices.inbox_push(thread, RUN, 1, [b"a", b"b"])
    call = link.call

    def lose_the_answer(*args: object, **more: object) -> object:
        call(*args, **more)  # type: ignore[arg-type]
        raise ConnectionError

    link.call = lose_the_answer  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        notices.inbox_pop(thread, RUN, 1, 1)
    link.call = call  # type: ignore[method-assign]
    assert notices.inbox_pop(thread, RUN, 1, 1) == [b"a"]
    assert notices.inbox_pop(thread, RUN, 1, 1) == [b"b"]


def test_an_inbox_is_bounded_in_lines_and_in_bytes(notices: Notices, thread: str) -> None:
    assert notices.inbox_push(thread, RUN, 1, [b"x"] * INBOX_LINES)
    assert not notices.inbox_push(thread, RUN, 1, [b"y"])
    assert len(notices.inbox_pop(thread, RUN, 1, INBOX_LINES)) == INBOX_LINES
    assert notices.inbox_pop(thread, RUN, 1, 1) == []

    half = b"x" * (INBOX_BYTES // 2 + 1)
    assert notices.inbox_push(thread, RUN, 1, [half])
    assert not notices.inbox_push(thread, RUN, 1, [half])
    assert notices.inbox_pop(thread, RUN, 1, 1) == [half]
    assert notices.inbox_pop(thread, RUN, 1, 1) == []
    assert notices.inbox_push(thread, RUN, 1, [half, half])  # an empty one takes anything


def test_an_attempt_that_is_over_can_push_nothing(
    notices: Notices, thread: str, link: Link, settings: Settings
) -> None:
    log = EventLog(link, settings.log)
    log.begin(thread, RUN, 1, [])
    assert notices.inbox_push(thread, RUN, 1, [b"old"])
    log.begin(thread, RUN, 2, [])
    with pytest.raises(StaleAttempt):
        notices.inbox_push(thread, RUN, 1, [b"zombie"])
    assert notices.inbox_pop(thread, RUN, 2, 10) == []
