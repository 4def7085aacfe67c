"""Tests of agents that are made with other libraries, which may be missing."""

from __future__ import annotations

import importlib
import os

import pytest

MISSING = "{library} is not installed; `make frameworks` installs it and runs these tests"


def need(*libraries: str) -> None:
    """Skip the tests whose libraries are not there; in CI they are there."""
    for library in libraries:
        if os.environ.get("CI") == "true":
            importlib.import_module(library)
        pytest.importorskip(library, reason=MISSING.format(library=library))
