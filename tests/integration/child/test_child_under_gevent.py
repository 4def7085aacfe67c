"""Children as a pool process has them: gevent waits for them. A file of its own may go to another worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.settings import CHECKOUT

CHILDREN = Path(__file__).with_name("processes")


@pytest.mark.slow  # every stack has a pool of gevent, and in it children
def test_all_that_holds_of_children_holds_under_gevent() -> None:
    patched = "from gevent import monkey; monkey.patch_all(); "
    script = patched + "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(CHILDREN), "-q", "-p", "no:cacheprovider"],
        cwd=CHECKOUT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
