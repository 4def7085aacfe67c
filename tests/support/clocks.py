"""Processes whose clock is wrong, by libfaketime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

_LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
_MISSING = "There is no libfaketime, which sets the clock of one process: apt-get install libfaketime."


def wrong_by(seconds: int) -> Mapping[str, str]:
    """The environment of a process whose clocks are ``seconds`` ahead; skips the test without libfaketime.

    Its monotonic clock is shifted as well, as that of another machine is.
    """
    if _LIBRARY is None:
        do_without()
    return {"LD_PRELOAD": str(_LIBRARY), "FAKETIME": f"{seconds:+d}s"}


def do_without() -> NoReturn:
    """Skip the test, for there is no libfaketime. In continuous integration it fails: there is to be one."""
    if os.environ.get("CI") == "true":
        pytest.fail(_MISSING)
    pytest.skip(_MISSING)
