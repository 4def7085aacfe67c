"""How errors are described, for every protocol, and the problem document that the Thread API makes of it."""

from __future__ import annotations

import orjson
import pytest
from werkzeug.exceptions import MethodNotAllowed, NotFound, RequestEntityTooLarge

from runtime import errors
from runtime.errors import (
    BrokerUnavailable,
    FieldError,
    Invalid,
    StoreUnavailable,
    StreamUnavailable,
    TooMany,
    UnknownWorker,
)
from web.http.errors import describe, describe_status
from web.http.problems import MAX_FIELDS, problem, raw_problem


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (errors.Unauthenticated(), 401, "unauthenticated", None),
        (errors.NotFound(), 404, "not-found", None),
        (UnknownWorker("nobody"), 422, "unknown-worker", None),
        (TooMany(retry_after=7), 429, "too-many", 7),
        (errors.StoreUnavailable(), 503, "store-unavailable", 2),
        (errors.WorkerElsewhere("newcomer"), 503, "worker-elsewhere", 2),
        (errors.BrokerUnavailable(), 503, "unavailable", 2),
        (NotFound(), 404, "not-found", None),
        (RequestEntityTooLarge(), 413, "request-entity-too-large", None),
        (ZeroDivisionError("secret"), 500, "internal-error", None),
    ],
)
def test_an_error_has_a_status_a_code_and_a_time_to_try_again(
    error: Exception, status: int, code: str, retry_after: int | None
) -> None:
    described = describe(error)

    assert (described.status, described.code, described.retry_after) == (status, code, retry_after)
    assert described.title
    assert described.detail


def test_an_unforeseen_error_keeps_its_text_to_itself() -> None:
    assert "secret" not in describe(ZeroDivisionError("secret")).detail


def test_a_wrong_method_keeps_the_header_that_names_the_right_ones() -> None:
    assert describe(MethodNotAllowed(["GET", "POST"])).headers == {"Allow": "GET, POST"}


def test_a_problem_document_names_wrong_fields_up_to_a_limit() -> None:
    wrong = [FieldError(("messages", n, "a/b"), "is wrong") for n in range(2 * MAX_FIELDS)]
    body = orjson.loads(problem(describe(Invalid(errors=wrong))).data)

    assert body["type"] == "urn:branchline:problem:invalid"
    assert len(body["errors"]) == MAX_FIELDS
    assert body["errors"][1] == {
        "path": "messages.1.a/b", "pointer": "/messages/1/a~1b", "message": "is wrong"
    }  # fmt: skip


@pytest.mark.parametrize("kind", [StoreUnavailable, StreamUnavailable, BrokerUnavailable])
def test_what_a_driver_says_of_what_is_away_is_not_passed_on(kind: type[Exception]) -> None:
    described = describe(kind('connection to "db.internal", user "app" failed: password "secr'))

    assert described.status == 503
    assert described.detail == kind.__doc__


def test_a_problem_document_says_when_to_try_again() -> None:
    assert problem(describe(TooMany(retry_after=7))).headers["Retry-After"] == "7"


def test_what_is_not_http_gets_a_whole_response() -> None:
    assert describe_status(400, "Bad Request").code == "bad-request"
    head, _, body = raw_problem(400, "Bad Request", "no colon").partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 400 BAD REQUEST\r\n")
    assert b"Connection: close" in head
    assert orjson.loads(body)["detail"] == "no colon"
