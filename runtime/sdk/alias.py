"""``branchline_sdk``: what authors install this package as, and import it as.

In a pool, which has it as ``runtime.sdk``, the other name leads to the very same modules. Two
copies would have two classes Failure, of which the driver knows one.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_NAME = "branchline_sdk"


class _Alias:
    """Finds and loads the modules of that name."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """What to load ``name`` by; None where it is another one's."""
        if name.partition(".")[0] != _NAME:
            return None
        return ModuleSpec(name, self)  # type: ignore[arg-type]  # a loader, without importing its base class

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module of this package that ``spec`` names."""
        module = import_module(f"{__package__}{spec.name.removeprefix(_NAME)}")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: Any) -> None:
        """It is executed already; the import has only given it another ``__spec__``."""
        module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Have ``import branchline_sdk`` give this package from now on."""
    if __package__ != _NAME and not any(isinstance(finder, _Alias) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Alias())
