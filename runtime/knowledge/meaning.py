"""Finding passages by what they mean: an endpoint, and the vectors that this process has read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from runtime.errors import ConfigurationError, EmbeddingsUnavailable
from runtime.knowledge.endpoint import REFUSALS, Endpoint
from runtime.settings import EmbeddingsSettings

if TYPE_CHECKING:
    from runtime.knowledge.nearest import Vectors

log = logging.getLogger(__name__)

_PAUSE = 5.0
"""Seconds for which an endpoint is not asked that has not answered."""
Near = Callable[[Connection, str, int, Sequence[str] | None], Callable[[], list[int]]]
"""``near(c, workspace_id, k, source_ids)()``: the passages that are nearest to a query, the nearest first.
They are looked for from the first call on, while something else is done.

``source_ids``: of these sources; None: of all. Raises TooManyVectors.
"""


class Meaning:
    """What a process needs for it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._until = 0.0
        """When the endpoint may be asked again, by the monotonic clock."""

    @classmethod
    def of(cls, settings: EmbeddingsSettings) -> Meaning | None:
        """None where no endpoint is configured. Raises ConfigurationError where numpy is missing."""
        if not settings.url:
            return None
        if find_spec("numpy") is None:
            raise ConfigurationError(
                "BRANCHLINE_EMBEDDINGS_URL needs numpy where the web process runs: pip install "
                "'branchline[vectors]'"
            )
        return cls(Endpoint(settings))

    def near(self, query: str) -> Near:
        """What finds passages by the meaning of a query. Raises EmbeddingsUnavailable."""
        vector, least = self._vector(query), self.endpoint.similarity

        def near(
            c: Connection, workspace_id: str, k: int, source_ids: Sequence[str] | None
        ) -> Callable[[], list[int]]:
            return self._vectors.nearest(c, workspace_id, vector, least, k, source_ids)

        return near

    def _vector(self, query: str) -> bytes:
        """Not each search waits for an endpoint that is away."""
        if time.monotonic() < self._until:
            raise EmbeddingsUnavailable("did not answer a moment ago")
        try:
            return self.endpoint.embed_query(query)
        except EmbeddingsUnavailable as error:
            if error.status not in REFUSALS:
                self._until = time.monotonic() + _PAUSE
            log.warning("a search is by words alone: %s", error)
            raise

    @cached_property
    def _vectors(self) -> Vectors:
        from runtime.knowledge.nearest import Vectors  # needs numpy, which is there if this is configured

        return Vectors(self.endpoint.name)
