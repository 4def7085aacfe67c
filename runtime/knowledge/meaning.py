"""What a process needs to find passages by what they mean."""

from __future__ import annotations

from runtime.knowledge.endpoint import Endpoint
from runtime.settings import EmbeddingsSettings


class Meaning:
    """The endpoint that is configured."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    @classmethod
    def of(cls, settings: EmbeddingsSettings) -> Meaning | None:
        """None where no endpoint is configured."""
        return cls(Endpoint(settings)) if settings.url else None
