"""Which errors of Redis say that it is away: every class of redis-py's is sorted.

If a test here fails after an upgrade, redis-py has a class of errors that is not in the
table of runtime/stream/failures.py. Decide what it says, and add it there.
"""

from __future__ import annotations

import pytest
from redis import exceptions

from runtime.errors import StreamUnavailable
from runtime.settings import load
from runtime.stream import EventLog, Link
from runtime.stream.failures import AWAY, is_away
from tests.support.failures import errors_of, instance

ANSWERS = [
    ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist", True),
    ("BUSY Redis is busy running a script", True),
    ("NOREPLICAS Not enough good replicas to write.", True),
    ("Error running script (call to f_1): @user_script:1: @user_script: 1: -OOM command not allowed", True),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", False),
    ("unknown command 'FLY'", False),
    ("user_script:3: attempt to compare nil with number", False),
]


def test_every_error_of_redis_py_is_sorted() -> None:
    assert set(errors_of(exceptions)) == set(AWAY)


@pytest.mark.parametrize(("answer", "away"), ANSWERS)
def test_what_redis_refuses_to_everybody_is_an_absence(answer: str, away: bool) -> None:
    assert is_away(exceptions.ResponseError(answer)) is away


def test_a_connection_that_has_ended_is_an_absence() -> None:
    assert is_away(BrokenPipeError())
    assert is_away(exceptions.ConnectionError())
    assert not is_away(ValueError())


@pytest.mark.parametrize("kind", errors_of(exceptions), ids=lambda kind: kind.__name__)
def test_an_error_of_redis_is_unavailable_or_itself(
    kind: type[Exception], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load({"REDIS_URL": redis_url})
    link = Link(redis_url, settings.redis)
    log = EventLog(link, settings.log)
    log.cursor("a thread")  # so that the connection is there
    error = instance(kind)

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("redis.connection.Connection.read_response", fail)
        with pytest.raises(StreamUnavailable if is_away(error) else kind):
            log.cursor("a thread")
        link._suspended_until = 0.0
        with pytest.raises(StreamUnavailable if is_away(error) else kind):
            link.publish("a channel", b"")
    link._suspended_until = 0.0
    assert log.cursor("a thread").seq == 0
    link.close()
