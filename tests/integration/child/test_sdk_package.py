"""The package branchline-sdk: built, installed where nothing else is, and used."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

import pytest

import runtime
from runtime.child import Children, protocol
from runtime.registry import load
from runtime.sandbox.rules import Rules
from runtime.settings import CHECKOUT

WITHIN = 60.0

WORKER = """
from branchline_sdk import Failure, Run


def run(run: Run):
    run.step("Think")
    total = run.once("sum", sum, run.config["numbers"])
    yield f"The sum is {total}."
    if total > 5:
        raise Failure("That is too much.")
"""
TEST = """
from branchline_sdk.testing import execute

lost = execute("adder.py", config={"numbers": [1, 2]}, crash_after=2)
assert (lost.status, lost.saved) == ("queued", {"sum": 3})
assert lost.resume().text == "The sum is 3."
assert execute("adder.py", config={"numbers": [9]}).error.message == "That is too much."
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the package and nothing else."""
    folder = tmp_path_factory.mktemp("sdk")
    built = [sys.executable, "config/sdk/build.py", str(folder)]
    wheel = subprocess.check_output(built, cwd=CHECKOUT, text=True, timeout=WITHIN).strip()
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", wheel], check=True, timeout=WITHIN)
    return python


@pytest.fixture
def folder(tmp_path: Path, python: Path) -> Path:
    """A worker that is written with it."""
    command = json.dumps([str(python), "-m", "branchline_sdk", "adder.py"])
    manifest = f'id = "adder"\nname = "Adder"\ntype = "exec"\ncommand = {command}\n'
    (tmp_path / "worker.toml").write_text(manifest)
    (tmp_path / "adder.py").write_text(WORKER)
    return tmp_path


def test_its_version_is_the_products(python: Path) -> None:
    asks = "from importlib.metadata import version; print(version('branchline-sdk'))"
    said = subprocess.check_output([python, "-c", asks], text=True, timeout=WITHIN)
    assert said.strip() == runtime.__version__


def test_a_worker_of_another_environment_is_started_by_a_pool(
    children: Children, folder: Path, python: Path
) -> None:
    worker = replace(load(folder), sandbox=Rules(read=(str(python.parent.parent),)))
    line = {"type": "run", "protocol": 1, "run": {"id": "r1", "attempt": 1}, "config": {"numbers": [2, 4]}}
    child = children.start(worker, run_id="r1", environ={}, line=json.dumps(line).encode() + b"\n")
    decoder, events = protocol.Decoder(), []
    while chunk := child.read():
        for event in decoder.feed(chunk):
            events.append(event)
            if isinstance(event, protocol.Save):
                assert event.value == "6"
                child.send(b'{"type":"saved","key":"sum"}\n')
    assert [event for event in events if not isinstance(event, protocol.Save)] == [
        protocol.Step("Think"),
        protocol.Delta(None, "The sum is 6."),
        protocol.Failed("That is too much.", False),
    ], child.read_log()


def test_a_worker_is_tested_where_nothing_else_is_installed(folder: Path, python: Path) -> None:
    (folder / "test_adder.py").write_text(TEST)
    subprocess.run([python, "-I", "-c", TEST], cwd=folder, check=True, timeout=WITHIN)
