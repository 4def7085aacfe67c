"""A real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NONE = (
    "No browser for these tests: {missing}. Install Chromium (Debian: apt install chromium) "
    "and the packages of the extra `test` (make lint does)."
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A Playwright browser; skips the test where there is none, and fails it in CI."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _do_without("playwright is not installed")
    if program is None:
        _do_without("there is no chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def _do_without(missing: str) -> None:
    text = NONE.format(missing=missing)
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)
