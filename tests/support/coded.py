"""A worker that executes the code in its arguments, in Python without the SDK."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

from runtime.settings import CHECKOUT
from runtime.testing.client import Client

_MANIFEST = """
id = "coded"
name = "Coded"
description = "Does what its arguments say. For tests."
type = "exec"
command = ["{python}", "coded.py"]

[limits]
memory_bytes = 268435456
"""
_CODE = """
import json, os, signal, sys, time, urllib.request
args = json.loads(sys.stdin.readline())["args"]

def say(**event):
    print(json.dumps(event), flush=True)

def post(*events):
    request = urllib.request.Request(
        f"{os.environ['BRANCHLINE_API_URL']}/worker/runs/{os.environ['BRANCHLINE_RUN_ID']}/events",
        json.dumps(events).encode(),
        {"Authorization": "Bearer " + os.environ["BRANCHLINE_RUN_TOKEN"], "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).read()

exec(args["code"])
"""


def write_worker(home: Path) -> str:
    """Make the worker below ``home``; the WORKERS_PATH with it."""
    folder = home / "workers" / "coded"
    folder.mkdir(parents=True)
    (folder / "worker.toml").write_text(_MANIFEST.format(python=shutil.which("python3")))
    (folder / "coded.py").write_text(_CODE)
    return f"{CHECKOUT}/tests/workers:{folder.parent}"


def coded(client: Client, code: str, **args: object) -> dict:
    """A run that executes ``code``."""
    arguments = {"code": textwrap.dedent(code), **args}
    return client.ask(client.thread(), "go", worker_id="coded", args=arguments)["runs"][0]
