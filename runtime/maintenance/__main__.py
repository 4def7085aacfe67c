"""The reaper as a process of its own, which its guardian starts."""

from __future__ import annotations

import sys

from runtime.errors import ConfigurationError
from runtime.system import collector

if __name__ == "__main__":
    with collector.paused():
        from runtime.maintenance import reaper
    try:
        sys.exit(reaper.main())
    except ConfigurationError as error:
        sys.exit(str(error))
