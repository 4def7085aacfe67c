"""A web process that contract tests talk to; they play its pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from runtime import settings as settings_module
from runtime.services import Services
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.web_process import web_only

ENVIRON = {
    "BRANCHLINE_LIMITS_LOGINS_PER_MINUTE": "1000000",
    "BRANCHLINE_LIMITS_QUEUED_PER_USER": "0",
    "BRANCHLINE_STREAM_HEARTBEAT": "0.5",
    "PANEL_AGENTS": "rag=echo,document=echo,task=echo",
}


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    """A web process and nothing else."""
    folder = tmp_path_factory.mktemp("web")
    with web_only(Stack(folder, stack_database_url, stack_redis.url, (), **ENVIRON)) as stack:
        yield stack


@pytest.fixture(scope="module")
def services(stack: Stack) -> Iterator[Services]:
    """What the tests play the pool with."""
    services = Services(settings_module.load(stack.environ))
    yield services
    services.database.close()
    services.link.close()


@pytest.fixture
def ada(stack: Stack) -> Iterator[Client]:
    """A client with an account."""
    with closing(stack.client()) as client:
        yield client


@pytest.fixture
def bob(stack: Stack) -> Iterator[Client]:
    """A client with another account."""
    with closing(stack.client()) as client:
        yield client


@pytest.fixture
def nobody(stack: Stack) -> Iterator[Client]:
    """A client that is not signed in."""
    with closing(Client(stack.url)) as client:
        yield client
