"""A client of the Thread API: requests, problem documents, and streams that reconnect."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator

import httpx
import orjson

from runtime.errors import BranchlineError, Unauthenticated, Unavailable
from runtime.events import RUN_COMPLETED
from runtime.model import Json
from runtime.thread_api.streams import StreamEvent, parse_stream

_MAX_RECONNECTS = 20
"""Connections in a row without an event after which a stream is given up."""

_PAGE = 100


class Refused(BranchlineError):
    """The server rejected the request."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def trusted() -> ssl.SSLContext:
    """The authorities whose certificates are believed.

    They are those that httpx brings along and those of this machine, or in the place of the
    latter the ones that SSL_CERT_FILE names, as OpenSSL reads it.
    """
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


class Api:
    """A signed-in user of one server."""

    def __init__(self, url: str, token: str | None, email: str, password: str) -> None:
        """Without a ``token``, signs in with ``email`` and ``password``."""
        self._http = httpx.Client(
            base_url=url, timeout=httpx.Timeout(30, connect=5), trust_env=False, verify=trusted()
        )
        self._credentials = {"email": email, "password": password, "token": True}
        self._signs_in = token is None
        if token is None:
            self._sign_in()
        else:
            self._set_token(token)

    def get(self, path: str, **query: Json) -> Json:
        """The answer to a GET."""
        return self._request("GET", path, params=query)

    def all(self, path: str) -> Iterator[Json]:
        """All items of a list, page by page."""
        cursor: dict[str, Json] = {}
        while True:
            page = self.get(path, limit=_PAGE, **cursor)
            yield from page["items"]
            if page["next"] is None:
                return
            cursor = {"cursor": page["next"]}

    def post(self, path: str, body: Json) -> Json:
        """The answer to a POST."""
        return self._request("POST", path, json=body)

    def delete(self, path: str) -> None:
        """Send a DELETE."""
        self._request("DELETE", path)

    def upload(self, path: str, content: bytes, **query: Json) -> Json:
        """The answer to a POST of one file."""
        return self._request("POST", path, params=query, files={"file": ("file", content)})

    def run_events(self, run_id: str, after: str = "") -> Iterator[StreamEvent]:
        """Every event of a run after the one with the id ``after``, up to the run's end.

        Reconnects if the stream is interrupted.
        """
        failures = 0
        while failures < _MAX_RECONNECTS:
            failures += 1
            try:
                for event in self._connection(f"/api/runs/{run_id}/events", after):
                    failures = 0
                    after = event.id or after
                    yield event
                    if event.type == RUN_COMPLETED:
                        return
            except httpx.TransportError:
                pass  # the server cannot be reached at the moment
            time.sleep(min(0.25 * failures, 3))
        raise Unavailable("The stream was interrupted and the server does not answer. The run continues.")

    def _connection(self, path: str, last_id: str) -> Iterator[StreamEvent]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        timeout = httpx.Timeout(5, read=45)  # the server sends a heartbeat every 15 s
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
            if answer.status_code == 503:
                return
            if answer.is_error:
                answer.read()
                raise refusal(answer)
            yield from parse_stream(answer.iter_lines())

    def _request(self, method: str, path: str, **more: Json) -> Json:
        answer = self._send(method, path, **more)
        if answer.status_code == 401 and self._signs_in:
            self._sign_in()  # a sign-in's token expires after an hour
            answer = self._send(method, path, **more)
        if answer.is_error:
            raise refusal(answer)
        return orjson.loads(answer.content) if answer.content else None

    def _send(self, method: str, path: str, **more: Json) -> httpx.Response:
        try:
            return self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise Unavailable(
                f"No answer at {self._http.base_url} ({error}). Start Branchline with `make run`, "
                "or set its address with --url."
            ) from error

    def _sign_in(self) -> None:
        answer = self._send("POST", "/api/auth/login", json=self._credentials)
        if answer.status_code == 401:
            raise Unauthenticated(
                f"{self._credentials['email']} cannot sign in with that password. "
                "Use --email for another account, or --token."
            )
        if answer.is_error:
            raise refusal(answer)
        self._set_token(answer.json()["token"])

    def _set_token(self, token: str) -> None:
        self._http.headers["Authorization"] = f"Bearer {token}"
        self._http.cookies.clear()


def refusal(answer: httpx.Response) -> Refused:
    """What a problem document (RFC 9457) says, as an error."""
    try:
        problem = orjson.loads(answer.content)
        detail = problem.get("detail") or problem["title"]
        fields = [f"{error['path']}: {error['message']}" for error in problem.get("errors", [])]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return Refused(
            f"The server answered {answer.status_code} {answer.reason_phrase}.", answer.status_code
        )
    text = "\n  ".join([detail, *(field for field in fields if not field.endswith(detail))])
    return Refused(text, answer.status_code)
