"""The lock: what an extra needs of it is installed, and nothing that has another hash."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.settings import CHECKOUT

INSTALL = CHECKOUT / "config" / "install.py"
LOCK = CHECKOUT / "config" / "requirements.lock"
OURS: dict[str, Any] = runpy.run_path(str(INSTALL))


def extras() -> list[str]:
    """All that setup.cfg has."""
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    return list(setup["options.extras_require"])


def names(*wanted: str) -> set[str]:
    return {OURS["normal"](entry) for entry in OURS["chosen"](wanted)}


def test_every_package_of_the_lock_is_checked_by_its_hashes() -> None:
    entries = OURS["locked"]()

    assert len(entries) > 50
    assert not [name for name, entry in entries.items() if "--hash=sha256:" not in entry]
    # Those that are compiled have files for many platforms, and the lock knows all of them.
    assert len(re.findall("--hash", entries["gevent"])) > 20


def test_a_package_that_is_another_one_for_another_python_is_installed_for_each() -> None:
    entry = OURS["locked"]()["numpy"]

    found = re.findall(r"^numpy==\S+ ; python_full_version (\S+) '3.12'", entry, re.MULTILINE)
    assert found == ["<", ">="]


@pytest.mark.parametrize("extra", extras())
def test_the_lock_has_what_an_extra_needs(extra: str) -> None:
    assert names(extra) >= OURS["wanted"]([extra])


def test_all_of_the_lock_is_needed_by_some_extra() -> None:
    assert names(*extras()) == set(OURS["locked"]())


def test_an_extra_brings_what_its_packages_need_and_no_other_extra() -> None:
    plain, workers = names(), names("workers")

    assert {"celery", "kombu", "vine", "hiredis", "psycopg-binary", "setuptools"} <= plain
    assert {"openai", "pydantic-core", "jiter"} <= workers - plain
    assert not {"pytest", "mypy", "flower"} & workers


def test_what_a_package_needs_for_an_extra_of_its_own_comes_with_that_only() -> None:
    assert "pyjwt" in names()
    assert "cryptography" not in names()
    assert "cryptography" in names("frameworks")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that needs one package, whose wheel lies beside it."""
    (tmp_path / "config").mkdir()
    shutil.copy(INSTALL, tmp_path / "config")
    (tmp_path / "setup.cfg").write_text(
        "[options]\ninstall_requires =\n    tiny >=1\n[options.extras_require]\nbuild =\n"
    )
    with zipfile.ZipFile(tmp_path / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(
            "tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\n")
    return tmp_path


@pytest.fixture
def install(checkout: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Install by a lock that has this hash."""

    def call(digest: str) -> subprocess.CompletedProcess[str]:
        lock = f"tiny==1.0 \\\n    --hash=sha256:{digest}\n    # via branchline (setup.cfg)\n"
        (checkout / "config" / "requirements.lock").write_text(lock)
        environ = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(checkout),
            "PIP_TARGET": str(checkout / "there"),
        }
        return subprocess.run(
            [sys.executable, "config/install.py"],
            cwd=checkout,
            env={"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call


def test_a_file_with_another_hash_is_not_installed(
    checkout: Path, install: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    tampered = install("0" * 64)
    assert tampered.returncode != 0
    assert "DO NOT MATCH" in tampered.stderr
    assert tampered.stderr.endswith(
        f"pip failed: a file is not the one that the lock names; all that it said is in {OURS['LOG']}\n"
    )
    assert not (checkout / "there" / "tiny.py").exists()

    done = install(hashlib.sha256((checkout / "tiny-1.0-py3-none-any.whl").read_bytes()).hexdigest())
    assert "Collecting" not in done.stdout, "a person does not read pip's four hundred lines"
    assert (checkout / "there" / "tiny.py").exists()
