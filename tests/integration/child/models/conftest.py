"""Fixtures of the tests of workers for models: one server, and one host of each worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from runtime import settings as settings_module
from runtime.child import Children
from tests.support.fake_model import FakeModel, environ_of, said_by
from tests.support.scripted_agents import Ask, asker


@pytest.fixture(scope="session")
def server() -> Iterator[FakeModel]:
    model = FakeModel()
    yield model
    model.close()


@pytest.fixture
def model(server: FakeModel) -> FakeModel:
    server.reset()
    return server


@pytest.fixture(scope="session")
def children(server: FakeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """Shared, for each host imports the library of a model's maker, which takes long."""
    settings = settings_module.load({"BRANCHLINE_HOME": str(tmp_path_factory.mktemp("home"))})
    with closing(Children(settings, environ_of(server.url))) as children:
        yield children


@pytest.fixture
def say(children: Children) -> Any:
    """Run a worker on messages, and on what a ``lost`` attempt has left; all that it says."""
    return partial(said_by, children)


@pytest.fixture(scope="session")
def ask(server: FakeModel) -> Ask:
    """Execute a shipped agent, with the others at hand."""
    return asker(server.url)
