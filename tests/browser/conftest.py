"""Fixtures of the browser tests: Chromium, and the whole stack behind it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from runtime.settings import CHECKOUT
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.browser import PLAIN_HOST, Visitor
from tests.support.unaware import unaware

T = TypeVar("T")

expect.set_options(timeout=40_000)

ROOMS = ("tests/workers", "tests/more_workers", "tests/browser/workers")
"""Where the workers are that ``stack`` has, from the checkout; and it has ``ingest`` of those shipped."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


class Room:
    """What all tests of this folder share. It ends with the last of them, for it costs something idle too."""

    def __init__(self) -> None:
        self._kept: dict[Callable[..., Any], Any] = {}
        self._ends = ExitStack()

    def keep(self, make: Callable[..., AbstractContextManager[T]], *arguments: Any) -> T:
        """What ``make`` makes for its first caller."""
        if make not in self._kept:
            self._kept[make] = self._ends.enter_context(make(*arguments))
        return cast(T, self._kept[make])

    def close(self) -> None:
        """End it all; who asks again gets another."""
        self._kept.clear()
        self._ends.close()


ROOM = Room()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        ROOM.close()


@pytest.fixture(scope="session")
def room() -> Iterator[Room]:
    """What is kept; nothing is left of it where the session is cut short."""
    yield ROOM
    ROOM.close()


@pytest.fixture(scope="module")
def chromium(room: Room, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """A browser; the test is skipped where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        text = "No Chromium is here for the browser tests (Debian: apt install chromium)."
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    assert (CHECKOUT / "web/static/index.html").exists(), "the interface is not built: make ui"
    return room.keep(_launched, unaware(path, tmp_path_factory.mktemp("browser")))


@contextmanager
def _launched(path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", f"--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def room_redis(tmp_path_factory: pytest.TempPathFactory, room: Room) -> RedisServer:
    """The Redis of ``stack``."""
    return room.keep(RedisServer, tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, room: Room, room_redis: RedisServer) -> Stack:
    """Web, a pool and the reaper, for all tests; one that kills a process has to mend it."""
    others = (path.parent.name for room in ROOMS for path in (CHECKOUT / room).glob("*/worker.toml"))
    assert min(others) > "echo", "who asks nobody in particular asks the first worker, and means echo"
    return room.keep(_stack, tmp_path_factory.mktemp("stack"), room_redis)


def _stack(folder: Path, redis: RedisServer) -> Stack:
    shutil.copytree(CHECKOUT / "workers" / "ingest", folder / "workers" / "ingest")
    return Stack(
        folder,
        f"sqlite:///{folder}/branchline.db",
        redis.url,
        BRANCHLINE_POOL_DRAIN="1",
        WORKERS_PATH=":".join((*ROOMS, str(folder / "workers"))),
        INGEST_PRIVATE_URLS="true",  # the pages that it reads are of this machine
        BRANCHLINE_RUN_RETRY_BACKOFF="60",  # long enough to be seen
        BRANCHLINE_WEB_HOSTS=f"127.0.0.1,{PLAIN_HOST}",
    )


@pytest.fixture
def visitor(chromium: Browser, stack: Stack) -> Iterator[Visitor]:
    """A user with an account and a browser, whose console must be free of errors at the end."""
    visitor = Visitor(chromium, stack)
    yield visitor
    visitor.leave()
