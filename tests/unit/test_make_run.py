"""`make run` where it fails: one sentence that says why, and the next one goes on.

The Makefile and config/install.py are the real ones; Python's pip, node and npm are stand-ins.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.settings import CHECKOUT

STARTED = "everything is started"
PYTHON = """#!/bin/sh
case "$1 $2" in
    "-m venv") [ -z "$VENV_FAILS" ] || { mkdir -p .venv/bin; ln -s /bin/true .venv/bin/python; exit 1; }
               exec {python} -m venv --clear --without-pip "$4" ;;
    "-c import"*venv*) exit 0 ;;
esac
exec {python} "$@"
"""
PIP = """
import os, pathlib, sys

if said := os.environ.get("PIP_SAYS"):
    sys.exit(said)
if "--editable" in sys.argv:
    program = pathlib.Path(sys.prefix, "bin", "branchline")
    program.write_text("#!/bin/sh\\n[ $1 = up ] && echo {started} || echo '{{}}'\\n")
    program.chmod(0o755)
"""
NPM = """#!/bin/sh
[ -z "$NPM_SAYS" ] || { echo "$NPM_SAYS"; exit 1; }
case "$*" in
    ci*) echo "npm http fetch GET 200 http://there/react/-/react-1.tgz 1ms"
         mkdir -p node_modules; touch node_modules/.package-lock.json ;;
    *build*) mkdir -p ../static; touch ../static/index.html ;;
esac
"""
Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in which nothing is installed, and an interface of two files."""
    for name in ("Makefile", "pyproject.toml", "config/install.py", "web/ui/with-node"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, tmp_path / name)
    extras = "".join(f"{name} =\n" for name in ("build", "cli", "flower", "local", "vectors", "workers"))
    setup = f"[options]\ninstall_requires =\n    tiny\n[options.extras_require]\n{extras}"
    (tmp_path / "setup.cfg").write_text(setup)
    (tmp_path / "config" / "requirements.lock").write_text("tiny==1.0\n    # via branchline\n")
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "model.py").touch()
    for name in ("package.json", "package-lock.json"):
        (tmp_path / "web" / "ui" / name).touch()
    return tmp_path


@pytest.fixture
def make(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """`make run` with this in its environment."""
    programs = tmp_path_factory.mktemp("programs")
    (programs / "pip").mkdir()
    (programs / "pip" / "__main__.py").write_text(PIP.format(started=STARTED))
    texts = {"python3": PYTHON.replace("{python}", sys.executable), "npm": NPM, "node": "#!/bin/sh\n"}
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])

    def call(**environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "run"],
            cwd=checkout,
            env={"PATH": path, "PYTHONPATH": str(programs), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call


def said(failed: subprocess.CompletedProcess[str]) -> str:
    """The last sentence, before make's own."""
    assert failed.returncode != 0, failed.stdout
    assert STARTED not in failed.stdout
    assert "Traceback" not in failed.stderr
    *_, sentence, makes_own = failed.stderr.splitlines()
    assert makes_own.startswith("make: ***")
    return sentence


def starts(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode == 0 and done.stdout.endswith(f"{STARTED}\n")


@pytest.mark.parametrize(
    ("pip_says", "cause"),
    [
        (
            "NameResolutionError()\nERROR: No matching distribution",
            ": the package index cannot be reached",
        ),
        ("ERROR: Could not install: [Errno 28] No space left on device", ": the disk is full"),
        ("ERROR: requires a different Python: 3.11.2 not in '>=3.12'", ": a package does not go with this"),
        ("something else", ""),
    ],
)
def test_where_pip_fails_it_says_why_and_the_next_one_goes_on(
    checkout: Path, make: Make, pip_says: str, cause: str
) -> None:
    failed = make(PIP_SAYS=pip_says)

    log = checkout / ".venv" / "install.log"
    assert said(failed).startswith(f"pip failed{cause}")
    assert said(failed).endswith(f"; all that it said is in {log}")
    assert pip_says in failed.stderr and pip_says in log.read_text()
    assert starts(make())


@pytest.mark.parametrize(
    ("npm_says", "cause"),
    [
        (
            "npm error code ENOTFOUND\nnpm error network request failed",
            ": the package index cannot be reached",
        ),
        ("npm error code ENOSPC\nnpm error nospc no space left on device", ": the disk is full"),
        ("npm error code EINTEGRITY", ": a file is not the one that the lock names"),
        ("npm error something else", ""),
    ],
)
def test_where_npm_fails_it_says_why_and_the_next_one_goes_on(
    checkout: Path, make: Make, npm_says: str, cause: str
) -> None:
    failed = make(NPM_SAYS=npm_says)

    log = checkout / ".venv" / "npm.log"
    assert said(failed) == f"npm failed{cause}; all that it said is in {log}"
    assert npm_says in failed.stderr and npm_says in log.read_text()
    again = make()
    assert starts(again)
    assert "Installing" not in again.stdout, "pip had done its part"
    assert starts(make())


def test_a_virtual_environment_that_was_left_half_made_is_made_anew(checkout: Path, make: Make) -> None:
    failed = make(VENV_FAILS="1")

    assert said(failed).startswith("No virtual environment could be made in .venv")
    assert starts(make())


def test_another_version_of_python_has_everything_installed_anew(checkout: Path, make: Make) -> None:
    assert starts(make())
    [library] = (checkout / ".venv" / "lib").iterdir()
    library.rename(library.with_name("python3.10"))  # as if the packages were of a Python before it

    again = make()
    assert starts(again)
    assert "Making a virtual environment" in again.stdout
    assert "Installing" in again.stdout
    assert make().stdout == f"{STARTED}\n"


def test_a_python_that_is_gone_has_everything_installed_anew(checkout: Path, make: Make) -> None:
    assert starts(make())
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3")

    assert "Installing" in make().stdout
    assert make().stdout == f"{STARTED}\n"


def test_without_a_python_that_is_new_enough_it_says_which_is_needed(make: Make, tmp_path: Path) -> None:
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 15))):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    failed = make(PATH=os.pathsep.join([str(tmp_path), os.environ["PATH"]]))

    assert said(failed).startswith("Branchline needs Python 3.11 or newer")
    assert starts(make())
