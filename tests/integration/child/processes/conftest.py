"""Fixtures of the tests of children that are processes: real hosts, real workers."""

from __future__ import annotations

import os
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.child import Children
from runtime.registry import Worker, load
from runtime.settings import Settings
from runtime.settings import load as load_settings
from tests.support.talk import (
    FAKE,
    Start,
    Talk,
)


@pytest.fixture
def settings() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
        yield load_settings({"BRANCHLINE_HOME": home})


@pytest.fixture
def children(settings: Settings) -> Iterator[Children]:
    children = Children(settings, {**os.environ, "FAKE_VARIABLE": "seen", "SECRET": "unseen"})
    yield children
    children.close()


@pytest.fixture
def start(children: Children) -> Start:
    """Start a child of a worker, ``fake`` unless another is given, with a config."""

    def start(
        mode: str = "ok", worker: Worker = FAKE, more: dict[str, Any] | None = None, **config: Any
    ) -> Talk:
        child = children.start(worker, run_id="run-1", environ={"BRANCHLINE_API_URL": "http://api"})
        return Talk(child, {"mode": mode, **config}, **(more or {}))

    return start


@pytest.fixture
def make_worker(tmp_path: Path) -> Callable[..., Worker]:
    """Write a worker of type python whose file is ``source``."""

    def make(source: str, more: str = "") -> Worker:
        folder = tmp_path / "made"
        folder.mkdir(exist_ok=True)
        manifest = f'id = "made"\nname = "Made"\ntype = "python"\nentrypoint_path = "made.py"\n{more}'
        (folder / "worker.toml").write_text(manifest)
        (folder / "made.py").write_text(textwrap.dedent(source))
        return load(folder)

    return make
