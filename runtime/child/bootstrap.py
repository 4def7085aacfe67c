"""``python bootstrap.py MODULE [ARGUMENT ...]``: runs main() of a module of ours in any interpreter.

It is for interpreters in which Branchline is not installed, and for sandboxed processes, which
may read the package ``runtime`` but not list the folder that it is in. So Python is told where the
package is. Such an interpreter gets the parts of it that need the standard library only.

The syntax in here is old, so that an old Python gets as far as the message.
"""

import json
import os
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location

OLDEST = (3, 11)
_OURS = ("child", "sandbox", "sdk", "system")


class _Ours:
    """Refuses the parts of ``runtime`` that are for Branchline's own environment."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Find nothing: the other finders find what is allowed."""
        top, _, rest = name.partition(".")
        if top == "runtime" and rest and rest.partition(".")[0] not in _OURS:
            raise ModuleNotFoundError(f"{name} is not for workers; use runtime.sdk", name=name)


def _find_runtime() -> None:
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    spec = spec_from_file_location(
        "runtime", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None and spec.loader is not None
    module = sys.modules["runtime"] = module_from_spec(spec)
    spec.loader.exec_module(module)


def main() -> None:
    """Run the module that the command line names."""
    if sys.version_info < OLDEST:
        found, oldest = (".".join(map(str, version[:2])) for version in (sys.version_info, OLDEST))
        message = f"its environment has Python {found}, and it takes {oldest} or later"
        os.write(int(sys.argv[2]), json.dumps({"type": "broken", "message": message, "lost": False}).encode())
        sys.exit(message)
    sys.path.pop(0)  # this folder, whose modules are no worker's
    _find_runtime()
    sys.meta_path.insert(0, _Ours())
    import_module(sys.argv[1]).main(*sys.argv[2:])


if __name__ == "__main__":
    main()
