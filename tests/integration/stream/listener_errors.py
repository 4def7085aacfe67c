"""All that a process receives from Redis, while its connections raise errors of every class.

It needs a gevent process; test_listener_errors.py starts it. It prints what went wrong, and ``ok``.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import gevent
import redis
from redis import exceptions

from runtime import duties as duties_module
from runtime.duties import Duties
from runtime.stream import connection as connection_module
from runtime.stream import hub as hub_module
from runtime.stream import watcher
from runtime.stream.keys import Keys
from runtime.stream.notices import Notices
from runtime.stream.revocations import Revocations
from runtime.testing.waiting import until
from tests.integration.stream.hub.stage import Stage
from tests.support.failures import errors_of, instance

POOL, WORKSPACE, WITHIN = "a pool process", "a workspace", 20.0
ERRORS = [*errors_of(exceptions), OSError, KeyError, ValueError]
TIMES = 4
"""So often each error is raised, in whatever reads then: fewer than a duty may fail in a row."""


class Failing:
    """Replies of Redis that are errors, on the connections that the project makes."""

    def __init__(self) -> None:
        self.error: Exception = ValueError()
        self.left = 0
        read = redis.Connection.read_response

        def read_or_fail(connection: redis.Connection, *args: Any, **more: Any) -> Any:
            if not self.left or connection.client_name != "branchline":
                return read(connection, *args, **more)
            if isinstance(self.error, exceptions.ResponseError):
                read(connection, *args, **more)  # it is what Redis has replied
            elif more.get("disconnect_on_error", True):
                connection.disconnect()  # as redis-py does
            self.left = max(0, self.left - 1)
            raise self.error

        redis.Connection.read_response = read_or_fail  # type: ignore[method-assign]


def main(url: str) -> None:
    """Raise each error a few times; each listener is to receive what comes next, and streams all of it."""
    logging.disable()
    duties_module._PAUSES = (0.001,) * 5
    duties_module._LONGEST_PAUSE = 0.001
    duties_module._AWAY_PAUSE = connection_module._PAUSE = 0.001
    hub_module.RETRY_AFTER = watcher.RETRY_AFTER = 0.001
    failing, given_up = Failing(), list[str]()
    stage, duties = Stage(url, reread=0.2), Duties(given_up.append)
    stage.hub._duties = stage.hub._subscriber._duties = duties
    notices, revoked, hinted = list[Any](), list[str](), list[Any]()
    duties.start(
        "receive notices", lambda: map(notices.append, Notices(stage.link).pool_messages(POOL, "python"))
    )
    Revocations(stage.link).listen(revoked.append, lambda: None, lambda: None, duties)
    gevent.spawn(lambda: [hinted.append(batch) for batch in stage.hub.hints(WORKSPACE)])
    reader = stage.watch()
    admin = redis.Redis.from_url(url)

    def publish() -> None:
        """Wake every listener."""
        for channel in (Keys().pool(POOL), Keys().wake(stage.thread), Keys().workspace(WORKSPACE)):
            admin.publish(channel, '{"type": "x"}')
        admin.publish(Keys().revocations(), "somebody")

    def all_receive(texts: list[str]) -> bool:
        publish()
        return bool(notices and revoked and hinted and reader.texts == texts)

    texts: list[str] = []
    for kind in [None, *ERRORS]:
        if kind is not None:
            failing.error, failing.left = instance(kind), TIMES
            until(lambda: publish() or failing.left == 0, WITHIN, f"{kind.__name__} was raised")
        for received in (notices, revoked, hinted):
            received.clear()
        texts.append(kind.__name__ if kind else "before")
        until(lambda text=texts[-1]: wrote(stage, text), WITHIN, f"it can be written after {kind}")
        until(lambda: all_receive(texts), WITHIN, f"everything is received after {kind}")
    assert given_up == []
    until(lambda: duties.failing() == [], WITHIN, "no duty fails any more")
    print("ok")


def wrote(stage: Stage, text: str) -> bool:
    """Append to the log, as soon as its connections are not given up any more."""
    try:
        stage.write(text)
    except Exception:
        return False
    return True


if __name__ == "__main__":
    with gevent.Timeout(80):
        main(sys.argv[1])
