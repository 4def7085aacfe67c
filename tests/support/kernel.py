"""Tests of what the kernel enforces: skipped where it cannot, but not in continuous integration."""

from __future__ import annotations

import os

import pytest


def needs(*missing: str | None) -> pytest.MarkDecorator:
    """Skips a test for the first of these reasons; None: that part is there.

    With CI=true nothing is skipped: a sandbox that is never tried would pass every test.
    """
    reason = next((one for one in missing if one is not None), None)
    in_ci = os.environ.get("CI") == "true"
    return pytest.mark.skipif(reason is not None and not in_ci, reason=f"needs Linux with more: {reason}")
