"""An embeddings endpoint, and an app that has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from runtime.knowledge import embeddings
from runtime.knowledge.embedder import Embedder
from runtime.knowledge.endpoint import Endpoint
from tests.support.fake_embeddings import FakeEmbeddings
from web.core import Core


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEmbeddings]:
    """The endpoint. Tasks for it are due at once."""
    monkeypatch.setattr(embeddings, "_GATHERED", 0.0)
    with closing(FakeEmbeddings()) as made:
        yield made


@pytest.fixture
def with_vectors(web_environ: dict[str, str], fake: FakeEmbeddings) -> None:
    """The app has that endpoint; to be asked for before a client."""
    web_environ |= {
        "BRANCHLINE_EMBEDDINGS_URL": fake.url,
        "BRANCHLINE_EMBEDDINGS_KEY": "a-secret-key",
        "BRANCHLINE_EMBEDDINGS_MODEL": "meanings",
        "BRANCHLINE_EMBEDDINGS_BATCH": "2",
    }


@pytest.fixture
def embedder(with_vectors: None, core: Core) -> Embedder:
    """What a web process of that app would do beside its requests."""
    endpoint = Endpoint(core.settings.embeddings)
    return Embedder(core.database, endpoint)
