"""Python workers with an environment of their own: installed by Branchline, or made by their author."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.child import Children, protocol
from runtime.errors import ChildFailed
from runtime.registry import Worker, load
from runtime.registry.environments import Environments
from runtime.sdk.version import PROTOCOL
from runtime.settings import CHECKOUT
from runtime.settings import load as load_settings

WITHIN = 60.0
SOURCE = """
import importlib.util, sys
import tiny
from branchline_sdk import Run

def run(run: Run):
    of_the_pool = [name for name in ("gevent", "sqlalchemy") if importlib.util.find_spec(name)]
    try:
        import runtime.store
    except ModuleNotFoundError as error:
        of_the_pool.append(str(error))
    yield f"{tiny.NAME} {sys.prefix} {of_the_pool}"
"""


def wheel(folder: Path, version: str) -> None:
    """The package ``tiny``, as pip installs it."""
    about = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f"NAME = 'tiny {version}'\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / f"tiny-{version}-py3-none-any.whl", "w") as archive:
        for name, content in {**files, f"{about}/RECORD": "".join(f"{name},,\n" for name in files)}.items():
            archive.writestr(name, content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A worker that requires the package."""
    folder = tmp_path / "workers" / "small"
    folder.mkdir(parents=True)
    for version in ("1.0", "2.0"):
        wheel(folder.parent.parent, version)
    write(folder, 'requirements = "requirements.txt"')
    (folder / "requirements.txt").write_text("tiny==1.0\n")
    return folder


def write(folder: Path, more: str) -> None:
    manifest = f'id = "small"\nname = "Small"\ntype = "python"\nentrypoint_path = "small.py"\n{more}\n'
    (folder / "worker.toml").write_text(manifest)
    (folder / "small.py").write_text(SOURCE)


class Installation:
    """A data folder, and what is executed in it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.environ = {
            **os.environ,
            "BRANCHLINE_HOME": str(self.home),
            "WORKERS_PATH": str(folder / "workers"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(folder),
            "PYTHONPATH": str(CHECKOUT),
        }
        self.children = Children(load_settings({"BRANCHLINE_HOME": str(self.home)}), self.environ)

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "runtime", "install", *arguments]
        return subprocess.Popen(
            command, env={**self.environ, **more}, cwd=CHECKOUT, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    def install(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        printed, _ = process.communicate(timeout=WITHIN)
        return process.returncode, printed

    def answer(self, worker: Worker) -> str:
        line = {"type": "run", "protocol": 1, "run": {"id": "r"}, "config": {}}
        child = self.children.start(worker, run_id="r", environ={}, line=json.dumps(line).encode() + b"\n")
        decoder, events = protocol.Decoder(), []
        while chunk := child.read():
            events += decoder.feed(chunk)
        log = child.read_log()
        child.close()
        assert events[-1] == protocol.Done(), (events, log)
        return "".join(event.text for event in events if isinstance(event, protocol.Delta))


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    yield installation
    installation.children.close()


def test_what_a_worker_requires_is_installed_and_kept_until_it_changes(
    installation: Installation, folder: Path
) -> None:
    refusal = installation.children.sandboxing.refusal
    assert "run `branchline install small` where its pool runs" in str(refusal(load(folder)))
    with pytest.raises(ChildFailed, match="is not installed; run `branchline install small`"):
        installation.answer(load(folder))

    code, printed = installation.install()
    assert (code, "Successfully installed tiny-1.0" in printed) == (0, True), printed
    assert refusal(load(folder)) is None
    environment = Environments(installation.home).of(load(folder))
    assert environment is not None
    theirs = "['runtime.store is not for workers; use runtime.sdk']"
    assert installation.answer(load(folder)) == f"tiny 1.0 {environment.folder} {theirs}"
    assert "installed already" in installation.install("small")[1]

    (folder / "requirements.txt").write_text("-r more.txt\n")
    (folder / "more.txt").write_text("tiny==2.0\n")
    assert "is not installed" in str(refusal(load(folder)))
    code, printed = installation.install(str(folder), "--prune")
    assert (code, f"Removed {environment.folder}" in printed) == (0, True), printed
    assert installation.answer(load(folder)).startswith("tiny 2.0 ")


def test_what_cannot_be_installed_says_why_and_leaves_nothing(
    installation: Installation, folder: Path
) -> None:
    (folder / "requirements.txt").write_text("tiny==3.0\n")
    code, printed = installation.install()
    assert (code, "No matching distribution found for tiny==3.0" in printed) == (1, True), printed
    assert "Nothing of it is kept" in printed
    assert [path.name for path in (installation.home / "environments").iterdir()] == ["lock"]


def test_an_installation_that_is_killed_counts_as_none(installation: Installation, folder: Path) -> None:
    worker = load(folder)
    environment = installation.children.sandboxing.environments.of(worker)
    assert environment is not None
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        process = installation.start(PIP_NO_INDEX="0", PIP_FIND_LINKS="", PIP_INDEX_URL=index)
        silent.settimeout(WITHIN)
        with silent.accept()[0]:  # it is asked for the package, and waits for ever
            assert environment.python.exists()
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert "is not installed" in str(installation.children.sandboxing.refusal(worker))
            second = installation.start()
            assert second.stdout is not None
            assert "Another process is installing" in second.stdout.readline()
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=WITHIN)
    printed, _ = second.communicate(timeout=WITHIN)
    assert second.returncode == 0, printed
    assert installation.answer(worker).startswith("tiny 1.0 ")


@pytest.fixture
def own(folder: Path) -> Path:
    """The environment that an author has made in the worker's folder; its site-packages."""
    write(folder, 'python = ".venv/bin/python"')
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True, timeout=WITHIN
    )
    (packages,) = (folder / ".venv" / "lib").glob("python*/site-packages")
    (packages / "tiny.py").write_text("NAME = 'made by hand'\n")
    return packages


def test_an_environment_in_the_folder_of_a_worker_executes_it(
    installation: Installation, folder: Path, own: Path
) -> None:
    assert installation.answer(load(folder)).startswith(f"made by hand {folder / '.venv'} ")
    code, printed = installation.install("small")
    assert (code, "nothing is to be installed" in printed) == (0, True), printed


def test_an_environment_executes_nothing_outside_of_the_sandbox(
    installation: Installation, folder: Path, own: Path
) -> None:
    secret = installation.home / "secret"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text("of the pool")
    (own / "sitecustomize.py").write_text(
        f"""
import os
try:
    os.environ["FOUND"] = open({str(secret)!r}).read()
except PermissionError as error:
    os.environ["FOUND"] = "nothing"
"""
    )
    (folder / "small.py").write_text("import os\ndef run(run):\n    yield os.environ['FOUND']\n")
    assert installation.answer(load(folder)) == "nothing"


def test_an_interpreter_that_cannot_be_executed_is_named(installation: Installation, folder: Path) -> None:
    write(folder, 'python = "requirements.txt"')
    (folder / "requirements.txt").chmod(0o755)
    with pytest.raises(ChildFailed, match=r"requirements\.txt could not be executed: Exec format error"):
        installation.answer(load(folder))


def test_an_interpreter_that_is_not_there_is_named(installation: Installation, folder: Path) -> None:
    write(folder, 'python = ".venv/bin/python"')
    refusal = installation.children.sandboxing.refusal(load(folder))
    assert f"its interpreter {folder / '.venv/bin/python'} is not there" in str(refusal)


def test_an_environment_with_an_sdk_of_another_protocol_is_told_so(
    installation: Installation, folder: Path, own: Path
) -> None:
    (own / "branchline_sdk").mkdir()
    (own / "branchline_sdk" / "__init__.py").touch()
    version = own / "branchline_sdk" / "version.py"
    version.write_text(f"from typing import Final\n\nPROTOCOL: Final = {PROTOCOL + 1}\n")
    with pytest.raises(
        ChildFailed, match=rf"has version {PROTOCOL + 1} of the protocol, and the pool version"
    ):
        installation.answer(load(folder))
    version.write_text(f"PROTOCOL: Final = {PROTOCOL}\n")
    assert installation.answer(load(folder)).startswith("made by hand ")


def test_a_python_that_is_too_old_is_told_so(installation: Installation, folder: Path, own: Path) -> None:
    old = (
        "import runpy, sys; sys.version_info = (3, 9, 0); sys.argv[:] = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    program = folder / "python3.9"  # stands for one, with the interpreter of the tests
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{old}" "$@"\n')
    program.chmod(0o755)
    write(folder, 'python = "python3.9"\n[sandbox]\nlevel = "none"')
    told = "its environment has Python 3.9, and it takes 3.11 or later"
    with pytest.raises(ChildFailed, match=re.escape(told)):
        installation.answer(load(folder))


def test_what_was_installed_is_not_taken_for_what_another_python_needs(
    installation: Installation, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = installation.children.sandboxing.environments.of(load(folder))
    monkeypatch.setattr(sys, "version", "3.99")
    assert installation.children.sandboxing.environments.of(load(folder)) != before
