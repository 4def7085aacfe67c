"""A child that is a request to a web service.

The run is POSTed to the worker's URL, as the line that a process would read. The
response is what a process would write: lines of JSON, or Server-Sent Events whose
data are such lines. To stop the worker, the connection is closed. Where the service answers 202
there is no such response: it sends its lines by the Worker API, until one ends the run.

A service that speaks otherwise has a dialect, which turns the line into its request and its
response into lines.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import ssl
import threading
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

import httpx

from runtime.child import protocol
from runtime.child.agent_service import AgentService
from runtime.child.egress.routes import Access
from runtime.child.http_answer import Exchange, Failure, WorkerProtocol
from runtime.child.signing import signature
from runtime.registry import Worker
from runtime.registry.manifest import Dialect, HttpRules

log = logging.getLogger(__name__)

_CHUNKS = 16
"""Chunks that are buffered. When so many wait to be read, no more is read from the service."""

_DIALECTS: Mapping[Dialect, Callable[[str, HttpRules], Exchange]] = MappingProxyType(
    {Dialect.WORKER: WorkerProtocol, Dialect.AGENT_SERVICE: AgentService}
)


@cache
def _certificates() -> ssl.SSLContext:
    """What services are known by. To load it takes tens of milliseconds, so all requests share it."""
    return httpx.create_ssl_context()


class HttpChild:
    """One request to a worker's URL. See :class:`runtime.child.child.Child`."""

    listens = False
    pid = 0
    oom_killed = False
    lost: str | None = None
    exceeded: str | None = None

    def __init__(
        self, worker: Worker, url: str, environ: Mapping[str, str], secret: str | None = None
    ) -> None:
        """``url``: where the run is posted to; it is shown to nobody, for it may have a password.

        ``environ``: the variables of the run, which are sent as headers.

        ``secret``: by which the request is signed; None: it is not.
        """
        self._url = url
        self._rules = worker.http
        self._secret = secret
        self._shown_url = worker.url or ""
        self._exchange = _DIALECTS[worker.http.dialect](self._shown_url, worker.http)
        self._headers = {
            "Content-Type": "application/json",
            "Accept": self._exchange.accept,
            "Authorization": f"Bearer {environ['BRANCHLINE_RUN_TOKEN']}",
            "X-Branchline-Run-Id": environ["BRANCHLINE_RUN_ID"],
            "X-Branchline-Api-Url": environ["BRANCHLINE_API_URL"],
        }
        self._chunks: queue.Queue[bytes] = queue.Queue(_CHUNKS)
        self._ended = threading.Event()
        self._stopped = threading.Event()
        self._client: httpx.Client | None = None
        self._requested = False

    def send(self, line: bytes) -> None:
        """The first line is the request, and the cancel command closes the connection.

        Of others it learns by the Worker API, if it asks.
        """
        if self._requested:
            if line.strip() == protocol.CANCEL:
                self.stop(0)
        else:
            self._requested = True
            threading.Thread(target=self._run, args=(line,), daemon=True).start()

    def on_access(self, report: Callable[[Access], None]) -> None:
        """It runs elsewhere, and connects to what nobody here sees."""

    def read(self) -> bytes:
        """The next chunk of the response; empty at the end."""
        chunk = self._chunks.get()
        if not chunk:
            self._chunks.put(b"")  # for the next call
        return chunk

    def read_log(self) -> bytes:
        """Nothing: a service keeps its own log."""
        return b""

    def wait(self, timeout: float | None = None) -> int | None:
        """0 once the response has ended: a failure is an event of the protocol."""
        return 0 if self._ended.wait(timeout) else None

    def show_stack(self) -> None:
        """Nobody here can know."""

    def stop(self, grace: float) -> None:
        """Close the connection."""
        self._stopped.set()
        if self._client is not None and not self._ended.is_set():
            self._client.close()
        with contextlib.suppress(queue.Empty):
            while True:
                self._chunks.get_nowait()
        self._put(b"")

    def close(self) -> None:
        """There are no pipes."""

    def _run(self, line: bytes) -> None:
        timeout = httpx.Timeout(None, connect=self._rules.connect_timeout, read=self._rules.idle_timeout)
        try:
            with httpx.Client(timeout=timeout, verify=_certificates()) as self._client:
                self._post(self._client, line)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            if not self._stopped.is_set():
                self._fail(self._exchange.failure_of(error))
        except Exception:  # else its answer would seem to have ended well
            if not self._stopped.is_set():
                log.exception("the answer of the worker at %s could not be read", self._shown_url)
                self._fail(Failure(f"The answer of the worker at {self._shown_url} could not be read."))
        finally:
            self._ended.set()
            if not self._exchange.pushes:
                self._put(b"")

    def _post(self, client: httpx.Client, line: bytes) -> None:
        request = self._exchange.request(line)
        signed = signature(self._secret, request) if self._secret else {}
        with client.stream("POST", self._url, content=request, headers=self._headers | signed) as response:
            for chunk in self._exchange.lines(response):
                if self._stopped.is_set():
                    return
                self._chunks.put(chunk)

    def _fail(self, failure: Failure) -> None:
        self._put(failure.encode())

    def _put(self, chunk: bytes) -> None:
        """Queue a chunk, unless the child was stopped and nobody reads any more."""
        while True:
            try:
                return self._chunks.put(chunk, timeout=1)
            except queue.Full:
                if self._stopped.is_set():
                    return
