"""``python fresh.py FILE``: as ``python -m runtime.sdk FILE``, where the checkout cannot be listed.

A sandboxed worker may read the package ``runtime`` but not the folder that it is in, which
holds the data of an installation too. Python looks for a package by listing folders; so
it is told where this one is.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from importlib.util import module_from_spec, spec_from_file_location


def _find_runtime() -> None:
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    spec = spec_from_file_location(
        "runtime", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None and spec.loader is not None
    module = sys.modules["runtime"] = module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)  # by which the pool asks where it hangs
    sys.path.pop(0)  # this folder, whose modules are no worker's
    _find_runtime()

    from runtime.sdk.__main__ import main

    sys.exit(main())
