"""Which of the pool's environment variables hosts and children get."""

from __future__ import annotations

from collections.abc import Mapping

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


def of_worker(worker: Worker, environ: Mapping[str, str]) -> dict[str, str]:
    """What the worker's worker.toml names, and its children get beside the basics."""
    allowed = (*worker.env, *worker.optional_env)
    return {name: environ[name] for name in allowed if name in environ}
