"""A child that is a request to a web service.

The run is POSTed to the worker's URL, as the line that a process would read. The
response is what a process would write: lines of JSON, or Server-Sent Events whose
data are such lines. To stop the worker, the connection is closed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping

import httpx

from runtime.child import protocol
from runtime.child.egress.routes import Access
from runtime.registry import Worker

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT = 10.0
_CHUNKS = 16
"""Chunks that are buffered. When so many wait to be read, no more is read from the service."""


class HttpChild:
    """One request to a worker's URL. See :class:`runtime.child.child.Child`."""

    listens = False
    pid = 0
    oom_killed = False
    lost: str | None = None
    digest: str | None = None
    exceeded: str | None = None

    def __init__(self, worker: Worker, environ: Mapping[str, str]) -> None:
        """``environ``: the variables of the run, which are sent as headers."""
        assert worker.url is not None
        self._url = worker.url
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/x-ndjson, text/event-stream",
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

    def _run(self, request: bytes) -> None:
        timeout = httpx.Timeout(None, connect=_CONNECT_TIMEOUT)
        try:
            with httpx.Client(timeout=timeout) as self._client:
                self._exchange(self._client, request)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            if not self._stopped.is_set():
                unreachable = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                what = "could not be reached" if unreachable else "broke off its answer"
                self._fail(f"The worker at {self._url} {what}: {error}", unreachable)
        except Exception:  # else its answer would seem to have ended well
            if not self._stopped.is_set():
                log.exception("the answer of the worker at %s could not be read", self._url)
                self._fail(f"The answer of the worker at {self._url} could not be read.", retryable=False)
        finally:
            self._ended.set()
            self._put(b"")

    def _exchange(self, client: httpx.Client, request: bytes) -> None:
        with client.stream("POST", self._url, content=request, headers=self._headers) as response:
            if response.status_code >= 300:
                text = response.read()[:500].decode("utf-8", "replace").strip()
                self._fail(
                    f"The worker at {self._url} answered {response.status_code}: {text}",
                    response.status_code in (429, 502, 503, 504),
                )
                return
            events = response.headers.get("content-type", "").startswith("text/event-stream")
            chunks = response.iter_bytes()
            for chunk in _lines_of_events(chunks) if events else chunks:
                if self._stopped.is_set():
                    return
                self._chunks.put(chunk)

    def _fail(self, message: str, retryable: bool) -> None:
        line = json.dumps({"type": "error", "message": message, "retryable": retryable})
        self._put(b"\n" + line.encode() + b"\n")

    def _put(self, chunk: bytes) -> None:
        """Queue a chunk, unless the child was stopped and nobody reads any more."""
        while True:
            try:
                return self._chunks.put(chunk, timeout=1)
            except queue.Full:
                if self._stopped.is_set():
                    return


def _lines_of_events(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The data of Server-Sent Events, a line each; other fields are skipped."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
        if data:
            yield b"\n".join(data) + b"\n"
