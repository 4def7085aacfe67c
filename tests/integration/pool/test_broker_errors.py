"""Which errors of the broker say that it is away: every class of kombu's and amqp's is sorted.

If a test here fails after an upgrade, one of them has a class of errors that is not in the
table of runtime/queue/failures.py. Decide what it says, and add it there.
"""

from __future__ import annotations

import amqp.exceptions
import kombu.exceptions
import pytest
import redis.exceptions

from runtime.errors import BrokerUnavailable
from runtime.queue.app import make_celery
from runtime.queue.failures import AWAY, is_away
from runtime.queue.publisher import publish
from runtime.settings import load
from runtime.store.backlog import Ticket
from tests.support.failures import errors_of, instance

KINDS = {*errors_of(amqp.exceptions), *errors_of(kombu.exceptions)}
RAISED = [*sorted(KINDS, key=str), *errors_of(redis.exceptions), OSError, TimeoutError]
TICKET = Ticket("a run", "python", "echo", 1)


def test_every_error_of_kombu_and_amqp_is_sorted() -> None:
    assert set(AWAY) == KINDS


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_an_error_of_the_broker_is_unavailable_or_itself(
    kind: type[Exception], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    celery = make_celery(load({"REDIS_URL": redis_url}))
    error = instance(kind)
    # Celery puts a kombu error around whatever Redis answers. The run stays queued in either case.
    unavailable = is_away(error) or isinstance(
        error, redis.exceptions.ResponseError | redis.exceptions.DataError
    )

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("kombu.messaging.Producer._publish", fail)
        with pytest.raises(BrokerUnavailable if unavailable else kind):
            publish(celery, TICKET)
    publish(celery, TICKET)
    celery.close()


def test_a_message_that_cannot_be_made_is_our_fault() -> None:
    assert not is_away(kombu.exceptions.EncodeError())
    assert is_away(amqp.exceptions.PreconditionFailed())
    assert is_away(amqp.exceptions.MessageNacked())
