"""What a request is answered, and what /readyz says, where a driver raises an error of any class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis import exceptions
from sqlalchemy import exc

from runtime.store.engines.failures import is_away
from runtime.stream import failures as stream_failures
from tests.support.failures import database_errors, dealt, errors_of, instance, raised_by_the_driver
from tests.support.web import Client
from web.core import Core

SECRET = "hunter2@database"


def test_a_request_is_503_where_the_connection_ended_and_500_where_the_fault_is_ours(ada: Client) -> None:
    thread = ada.thread()
    requests = [lambda: ada.get(f"/api/threads/{thread['id']}"), lambda: ada.ask(thread)]
    wrong = []
    for error, request in dealt(database_errors(), requests):
        with raised_by_the_driver(error):
            answer = request()
        expected = 503 if is_away(error) else 500
        if answer.status_code != expected or ("Retry-After" in answer.headers) is not is_away(error):
            wrong.append((error, answer.status, answer.text))

    assert wrong == []
    assert ada.ask(thread).status_code == 202


@pytest.mark.parametrize(
    "kind", [exc.OperationalError, exc.ProgrammingError, exc.InvalidRequestError, OSError]
)
def test_readiness_tells_nobody_what_an_error_of_the_database_says(
    nobody: Client, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    error = kind(SECRET, {}, ValueError(SECRET)) if issubclass(kind, exc.DBAPIError) else kind(SECRET)

    with raised_by_the_driver(error):
        ready = nobody.get("/readyz")

    assert ready.status_code == 503
    assert "database" in {missing["what"] for missing in ready.json["missing"]}
    assert SECRET not in ready.text
    assert "not ready: database" in caplog.text


def test_readiness_tells_nobody_what_an_error_of_redis_says(
    nobody: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in map(instance, errors_of(exceptions)):
        error.args = (SECRET,)

        def fail(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(redis.Redis, "ping", fail)
            ready = nobody.get("/readyz")
        [why] = [missing["why"] for missing in ready.json["missing"] if missing["what"] == "redis"]
        assert ("not reachable" in why) is stream_failures.is_away(error)
        assert SECRET not in ready.text


def test_a_web_process_is_not_ready_while_one_of_its_duties_fails(nobody: Client, core: Core) -> None:
    def body() -> Iterator[None]:
        raise ValueError(SECRET)
        yield

    failing = core.duties.start("check heartbeats", body)
    failing.join(0.05)
    ready = nobody.get("/readyz")
    failing.kill()

    assert ready.status_code == 503
    [missing] = ready.json["missing"]
    assert (missing["what"], "check heartbeats" in missing["why"]) == ("duties", True)
    assert SECRET not in ready.text
    assert nobody.get("/readyz").status_code == 200
