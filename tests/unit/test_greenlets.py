"""A process that gevent patches reads what packages declare once, not before and after each module."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

from runtime.settings import CHECKOUT
from runtime.system import greenlets

COUNT = """
import sys
from gevent import monkey
from runtime.system import greenlets

opened = []
sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" else None)
with greenlets.plugins_read_once():
    monkey.patch_all()
declarations = [path for path in opened if str(path).endswith("entry_points.txt")]
print(len(declarations) == len(set(declarations)) > 0, monkey.is_module_patched("threading"))
"""


def test_what_a_package_declares_is_read_once() -> None:
    command = [sys.executable, "-c", COUNT]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    assert done.stdout.split() == ["True", "True"], done.stderr


def test_packages_that_ask_for_it_are_found() -> None:
    usual = metadata.entry_points(group="console_scripts")
    with greenlets.plugins_read_once():
        found = metadata.entry_points(group="console_scripts")

    assert "pytest" in found.names
    assert set(found) == set(usual)


def test_others_are_asked_as_usual_afterwards() -> None:
    ask = metadata.entry_points
    with pytest.raises(ImportError), greenlets.plugins_read_once():
        raise ImportError

    assert metadata.entry_points is ask
