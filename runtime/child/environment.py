"""Which of the pool's environment variables hosts and children get."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from runtime.registry import Worker

_BASICS = frozenset({"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT"})
_BASIC_PREFIXES = ("LC_",)
_PYTHON = frozenset({"PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE"})


def basic(environ: Mapping[str, str]) -> dict[str, str]:
    """What every host and child gets: nothing that may be a secret."""
    return {
        name: value
        for name, value in environ.items()
        if name in _BASICS or name in _PYTHON or name.startswith(_BASIC_PREFIXES)
    }


_OF_OTHER_PYTHON = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"})
_THREADS = (
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
"""By which numerical libraries are told how many threads they may begin, many of them at their import."""


def of_import() -> dict[str, str]:
    """What a host gets that imports a worker, where its worker.toml says nothing else.

    Without threads it can be forked. With several runs at once the processors are busy anyway.
    """
    return dict.fromkeys(_THREADS, "1")


def of_interpreter(python: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` for an environment of a worker's own, into which nothing of the pool's is to leak."""
    kept = {name: value for name, value in environ.items() if name not in _OF_OTHER_PYTHON}
    kept["PATH"] = os.pathsep.join([str(python.parent), *filter(None, [environ.get("PATH")])])
    if (python.parent.parent / "pyvenv.cfg").is_file():
        kept["VIRTUAL_ENV"] = str(python.parent.parent)
    return kept


def of_worker(worker: Worker, environ: Mapping[str, str]) -> dict[str, str]:
    """What the worker's worker.toml names, and its children get beside the basics."""
    allowed = (*worker.env, *worker.optional_env)
    return {name: environ[name] for name in allowed if name in environ}
