"""Children: what executes runs, and the protocol that they speak.

::

    children       starts a child for a run, by the launcher of its worker's type
    launchers/     one for each worker type
    child          the contract of a child; child_process and http_child fulfil it
    hosts          the host processes of a pool; host_process is one, as the pool sees it
    host, forked   what runs in a host, and in its forked children
    imported       the import of a worker; threads that it has begun
    ahead          an interpreter that has imported the worker, where a fork would not do
    bootstrap      runs these in any interpreter
    protocol       what a child writes, decoded and checked

The host process imports this package too and must stay small, so what only the pool
needs is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.child.child import Child
    from runtime.child.children import Children

__all__ = ["Child", "Children"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{name.lower()}"), name)
