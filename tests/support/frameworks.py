"""Tests of agents that are made with other libraries, which may be missing."""

from __future__ import annotations

import pytest

MISSING = "{library} is not installed; `make frameworks` installs it and runs these tests"


def need(*libraries: str) -> None:
    """Skip a file of tests whose libraries are not there."""
    for library in libraries:
        pytest.importorskip(library, reason=MISSING.format(library=library))
