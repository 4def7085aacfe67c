"""What goes wrong at a provider of models: as a sentence for the run's user, and whether to try again.

No library of a provider is imported. Their errors, and those of the libraries that are built on
them, are known by their shape: a status of HTTP, the names of their classes, what the provider
has written. So this holds for the shipped workers, for agents that are served, and for workers
that import it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .errors import Failure

_OF_MODELS = {"APIError", "APIStatusError", "ModelAPIError", "ModelHTTPError"}
"""Classes of openai, anthropic, google-genai, groq, pydantic-ai …: such an error is a provider's."""
_TIMEOUTS = {"APITimeoutError", "TimeoutException", "Timeout", "ServerTimeoutError"}
_CONNECTIONS = {
    "APIConnectionError",
    "TransportError",
    "NetworkError",
    "ProtocolError",
    "ClientConnectionError",
    "ClientPayloadError",
    "ChunkedEncodingError",
    "ConnectionError",
}
"""Classes of the libraries of providers, of httpx, httpcore, aiohttp, requests, urllib3 and Python."""
_BROKEN_OFF = {
    "ReadError",
    "ProtocolError",
    "ClientPayloadError",
    "ServerDisconnectedError",
    "ChunkedEncodingError",
    "ConnectionResetError",
}
"""Those among them that come once there was a connection."""
_FOR_THE_MOMENT = {408, 409, 425, 429}
"""Statuses below 500 after which another try may succeed."""
_FOR_GOOD = {
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "content_filter",
    "context_length_exceeded",
}
"""What providers call errors in mid-stream that another try does not mend."""
_PAY = {"insufficient_quota", "billing_error", "billing_hard_limit_reached"}
_LONGEST_DETAIL = 500
_STATUSES = (("status_code",), ("code",), ("status",), ("response", "status_code"), ("response", "status"))


def failure_of(
    error: BaseException, *, server: str = "", model: str = "", key: str = "the key"
) -> Failure | None:
    """What a provider's library, or one that uses it, has raised, as a failure of the run.

    None where it is no such error. ``server``: whom the sentence is about, where that is known;
    ``model``: what it was asked for; ``key``: what the provider calls the key that it was given.
    """
    causes = list(_causes(error))
    for one in causes:
        if failure := _of_request(one, server or _server_of(one), model, key):
            return failure
    for one in causes:
        if _names(one) & _OF_MODELS:  # without a status: in the middle of an answer
            again = not _kinds(one) & (_FOR_GOOD | _PAY)
            return Failure(f"{server or _server_of(one)} broke off: {_detail(one)}", retryable=again)
    return None


def events_of(stream: Any, server: str) -> Iterator[Any]:
    """What a provider's ``stream`` has, one after the other. Raises Failure where it sends nonsense."""
    try:
        yield from stream
    except ValueError as error:  # of the module json, among others
        raise Failure(f"{server} broke off: {error}", retryable=True) from error


def ended_early(stream: Any, server: str) -> Failure:
    """The failure where a provider's ``stream`` has ended, and has not said that the answer has.

    ``stream``: as its library gives it, for what the ``response`` has as its content type.
    """
    kind = str(_at(stream, "response", "headers").get("content-type") or "")
    if "event-stream" in kind or "ndjson" in kind or not kind:
        return Failure(f"{server} broke off: the answer has no end.", retryable=True)
    return Failure(
        f"{server} gave no answer as a server of models does, but {kind.partition(';')[0]}.", retryable=True
    )


def _of_request(error: BaseException, server: str, model: str, key: str) -> Failure | None:
    names, status = _names(error), _status(error)
    if names & _TIMEOUTS:
        return Failure(f"{server} did not answer in time.", retryable=True)
    if names & _CONNECTIONS and status is None and "BrokenPipeError" not in names:  # that is the pool's
        return _lost(error, server)
    if status is None:
        return None
    again = (status >= 500 or status in _FOR_THE_MOMENT) and not _kinds(error) & _PAY
    if not again and not names & _OF_MODELS:
        return None
    return Failure(_of_status(error, status, server, model, key), retryable=again)


def _lost(error: BaseException, server: str) -> Failure:
    cause = error.__cause__ or error
    how = "broke off" if _names(cause) & _BROKEN_OFF else "could not be reached"
    return Failure(f"{server} {how}: {str(cause) or _detail(error)}", retryable=True)


def _of_status(error: BaseException, status: int, server: str, model: str, key: str) -> str:
    detail = _detail(error)
    if _kinds(error) & _PAY or status == 402:
        return f"The account's quota at {server} is used up: {detail}"
    if status in (401, 403):
        return f"{server} refused {key}: {detail}"
    if status == 404 and model:
        return f"{server} does not have the model {model!r}: {detail}"
    if status == 429:
        return f"{server} is asked too often: {detail}"
    return f"{server} answered {status}: {detail}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, those that it stands for, and what it was raised from."""
    seen: list[BaseException] = []
    following = [error]
    while following:
        one = following.pop(0)
        if one in seen:
            continue
        seen.append(one)
        yield one
        following += getattr(one, "exceptions", ()) if isinstance(one, BaseExceptionGroup) else ()
        following += [one.__cause__] if one.__cause__ is not None else []


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _status(error: BaseException) -> int | None:
    """The HTTP status of an error, if it is one of an error: an answer that breaks off began with 200."""
    for path in _STATUSES:
        status = _at(error, *path)
        if isinstance(status, int) and 400 <= status < 600:
            return status
    return None


def _kinds(error: BaseException) -> set[str]:
    """What the provider calls the error."""
    body = _at(error, "body")
    places = (error, body, _at(body, "error"))
    kinds = {_at(place, name) for place in places for name in ("code", "type")}
    return {kind for kind in kinds if isinstance(kind, str)}


def _detail(error: BaseException) -> str:
    """What the provider says about the error."""
    body = _at(error, "body")
    detail = _at(body, "detail")  # of servers that are made with FastAPI, where it may be a list
    told = detail if isinstance(detail, str) or not detail else json.dumps(detail)[:_LONGEST_DETAIL]
    texts = (_at(body, "error", "message"), _at(body, "message"), told, _at(error, "message"), str(error))
    return next((text.strip() for text in texts if isinstance(text, str) and text.strip()), _name(error))


def _name(error: BaseException) -> str:
    return type(error).__name__


def _server_of(error: BaseException) -> str:
    try:
        host = _at(error, "request", "url", "host")
    except RuntimeError:  # httpx, of an error that has no request
        host = None
    return host if isinstance(host, str) and host else "The model's server"


def _at(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value
