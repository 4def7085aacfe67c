"""A worker that is a web service: to the executor, a child like any other.

The run is POSTed to the worker's URL, as the line that a child would read; what
comes back is read as what a child would write: lines of JSON, or Server-Sent
Events whose data are such lines. Ending the connection is how it is told to stop.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator, Mapping

import httpx

from runtime.registry import Worker

_CONNECT_TIMEOUT = 10.0
_CHUNKS = 16
"""Chunks that may wait to be read; then the service has to wait."""


class RemoteChild:
    """One request to a worker's URL. See :class:`runtime.child.children.Child`."""

    pid = 0

    overdrawn = False

    def __init__(self, worker: Worker, environ: Mapping[str, str]) -> None:
        """``environ`` is what a child would have found there; it is sent as headers."""
        assert worker.url is not None
        self._url = worker.url
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/x-ndjson, text/event-stream",
            "Authorization": f"Bearer {environ['BRANCHLINE_RUN_TOKEN']}",
            "X-Branchline-Run-Id": environ["BRANCHLINE_RUN_ID"],
            "X-Branchline-Api-Url": environ["BRANCHLINE_API_URL"],
        }
        self._said: queue.Queue[bytes] = queue.Queue(_CHUNKS)
        self._ended = threading.Event()
        self._stopped = threading.Event()
        self._client: httpx.Client | None = None
        self._asked = False

    def send(self, line: bytes) -> None:
        """The first line is the request. A later one, which asks it to stop, ends the connection."""
        if self._asked:
            self.stop(0)
        else:
            self._asked = True
            threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def read(self) -> bytes:
        """The next chunk of its answer; empty at the end."""
        chunk = self._said.get()
        if not chunk:
            self._said.put(b"")  # and from then on
        return chunk

    def read_log(self) -> bytes:
        """It has no log: the service keeps its own."""
        return b""

    def close_stdin(self) -> None:
        """The request was sent whole."""

    def wait(self, timeout: float | None = None) -> int | None:
        """0 once the answer has ended: what went wrong was said in it."""
        return 0 if self._ended.wait(timeout) else None

    def stop(self, grace: float) -> None:
        """End the connection."""
        self._stopped.set()
        if self._client is not None and not self._ended.is_set():
            self._client.close()
        with contextlib.suppress(queue.Empty):
            while True:
                self._said.get_nowait()
        self._put(b"")

    def close(self) -> None:
        """There are no pipes."""

    def _talk(self, request: bytes) -> None:
        timeout = httpx.Timeout(None, connect=_CONNECT_TIMEOUT)
        try:
            with httpx.Client(timeout=timeout) as self._client:
                self._converse(self._client, request)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            if not self._stopped.is_set():
                unreached = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                what = "could not be reached" if unreached else "broke off its answer"
                self._fail(f"The worker at {self._url} {what}: {error}", unreached)
        finally:
            self._ended.set()
            self._put(b"")

    def _converse(self, client: httpx.Client, request: bytes) -> None:
        with client.stream("POST", self._url, content=request, headers=self._headers) as response:
            if response.status_code >= 300:
                about = response.read()[:500].decode("utf-8", "replace").strip()
                self._fail(
                    f"The worker at {self._url} answered {response.status_code}: {about}",
                    response.status_code in (429, 502, 503, 504),
                )
                return
            events = response.headers.get("content-type", "").startswith("text/event-stream")
            chunks = response.iter_bytes()
            for chunk in _lines_of_events(chunks) if events else chunks:
                if self._stopped.is_set():
                    return
                self._said.put(chunk)

    def _fail(self, message: str, retryable: bool) -> None:
        line = json.dumps({"type": "error", "message": message, "retryable": retryable})
        self._put(b"\n" + line.encode() + b"\n")

    def _put(self, chunk: bytes) -> None:
        """Put, unless nobody reads any more."""
        while True:
            try:
                return self._said.put(chunk, timeout=1)
            except queue.Full:
                if self._stopped.is_set():
                    return


def _lines_of_events(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The data of Server-Sent Events, a line each; the rest of an event is passed over."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
        if data:
            yield b"\n".join(data) + b"\n"
