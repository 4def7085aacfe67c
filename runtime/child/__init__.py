"""Children: the processes that execute runs, and the protocol that they speak.

The host process (:mod:`runtime.child.host`) imports this package too, and must stay
small; so what only the pool needs is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.child.children import Child, Children
    from runtime.child.launchers.http import RemoteChild

__all__ = ["Child", "Children", "RemoteChild"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "launchers.http" if name == "RemoteChild" else "children"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
