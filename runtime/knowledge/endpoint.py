"""What makes vectors of texts: an embeddings endpoint, as OpenAI has it and many servers do.

Its key is in a header of each request and nowhere else: no error and no log has it, and it goes to no other
address, since a redirect is not followed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import httpx
import orjson

from runtime.errors import EmbeddingsUnavailable
from runtime.knowledge.vectors import encode
from runtime.settings import EmbeddingsSettings
from runtime.system import greenlets

_LARGEST = 64 << 20
"""Bytes of an answer."""
REFUSALS = (400, 413, 422)
"""What is answered where a text is one that the model does not take."""
_LONGEST_PAUSE = 600.0
"""Seconds that an endpoint may want to be left alone."""


class Endpoint:
    """The endpoint of an installation, and its model."""

    def __init__(self, settings: EmbeddingsSettings) -> None:
        self._settings = settings
        self.name = settings.model
        """Vectors of another name are compared with none of this."""
        if settings.dimensions:
            self.name += f"/{settings.dimensions}"

    @property
    def batch(self) -> int:
        """Texts that are asked for in one request."""
        return self._settings.batch

    @property
    def similarity(self) -> float:
        """The least similarity of what is found."""
        return self._settings.similarity

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        """The vectors of passages. Raises EmbeddingsUnavailable."""
        return self._ask(texts, self._settings.timeout)

    def embed_query(self, text: str) -> bytes:
        """The vector of a query, for which somebody waits. Raises EmbeddingsUnavailable."""
        return self._ask([text], self._settings.query_timeout)[0]

    def _ask(self, texts: Sequence[str], seconds: float) -> list[bytes]:
        body: dict[str, Any] = {
            "model": self._settings.model,
            "input": list(texts),
            "encoding_format": "float",
        }
        if self._settings.dimensions:
            body["dimensions"] = self._settings.dimensions
        try:
            with _deadline(seconds):
                content = self._post(body, seconds)
        except httpx.TimeoutException as error:
            problem = f"has not answered within {seconds:g} s"
            raise EmbeddingsUnavailable(problem, timed_out=True) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EmbeddingsUnavailable(f"cannot be reached ({type(error).__name__})") from error
        try:
            return _decode(content, len(texts))
        except (ValueError, KeyError, TypeError) as error:
            raise EmbeddingsUnavailable("has answered with something else than vectors") from error

    def _post(self, body: Any, seconds: float) -> bytes:
        until = time.monotonic() + seconds
        url = f"{self._settings.url.rstrip('/')}/embeddings"
        content = bytearray()
        with self._client.stream("POST", url, content=orjson.dumps(body), timeout=seconds) as response:
            if response.status_code != httpx.codes.OK:
                status = response.status_code
                raise EmbeddingsUnavailable(f"has answered with {status}", status, _retry_after(response))
            for piece in response.iter_bytes():
                content += piece
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("it answers too slowly")
                if len(content) > _LARGEST:
                    raise EmbeddingsUnavailable("has answered with more than it was asked for")
        return bytes(content)

    @cached_property
    def _client(self) -> httpx.Client:
        key = self._settings.key
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        return httpx.Client(headers=headers)


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """What httpx bounds is each wait by itself: to connect, to write, and for each piece of an answer.

    Raises httpx.TimeoutException where all of them take longer. Without gevent, an answer is bounded only.
    """
    if not greenlets.patched():
        yield
        return
    import gevent

    with gevent.Timeout(seconds, httpx.ReadTimeout("it answers too slowly")):
        yield


def _decode(content: bytes, number: int) -> list[bytes]:
    """The vectors, in the order of the texts. Raises ValueError, KeyError, TypeError."""
    items = sorted(orjson.loads(content)["data"], key=lambda item: item["index"])
    if [item["index"] for item in items] != list(range(number)):
        raise ValueError("not one vector for each text")
    vectors = [encode(item["embedding"]) for item in items]
    if len({len(vector) for vector in vectors}) > 1:
        raise ValueError("vectors of several lengths")
    return vectors


def _retry_after(response: httpx.Response) -> float | None:
    try:
        seconds = float(response.headers.get("Retry-After", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), _LONGEST_PAUSE) if math.isfinite(seconds) else None
