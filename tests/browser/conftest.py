"""Fixtures of the browser tests: Chromium, and the whole stack behind it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from runtime.settings import CHECKOUT
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.browser import PLAIN_HOST, Visitor

expect.set_options(timeout=20_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        text = "No Chromium is here for the browser tests (Debian: apt install chromium)."
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    assert (CHECKOUT / "web/static/index.html").exists(), "the interface is not built: make ui"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", f"--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The Redis of ``stack``."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, session_redis: RedisServer) -> Iterator[Stack]:
    """Web, a pool and the reaper, for all tests; one that kills a process has to mend it."""
    folder = tmp_path_factory.mktemp("stack")
    others = (
        path.parent.name
        for room in ("tests", "tests/browser")
        for path in (CHECKOUT / room).glob("workers/*/worker.toml")
    )
    assert min(others) > "echo", "who asks nobody in particular asks the first worker, and means echo"
    with Stack(
        folder,
        f"sqlite:///{folder}/branchline.db",
        session_redis.url,
        BRANCHLINE_POOL_DRAIN="1",
        WORKERS_PATH=f"{CHECKOUT}/tests/workers:{CHECKOUT}/tests/browser/workers",
        BRANCHLINE_RUN_RETRY_BACKOFF="60",  # long enough to be seen
        BRANCHLINE_WEB_HOSTS=f"127.0.0.1,{PLAIN_HOST}",
    ) as stack:
        yield stack


@pytest.fixture
def visitor(chromium: Browser, stack: Stack) -> Iterator[Visitor]:
    """A user with an account and a browser, whose console must be free of errors at the end."""
    visitor = Visitor(chromium, stack)
    yield visitor
    visitor.leave()
