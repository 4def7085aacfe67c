"""A worker that executes the code in its arguments, in Python without the SDK."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from runtime.settings import CHECKOUT
from runtime.testing.client import Client

_MANIFEST = """
id = "{id}"
name = "Coded"
description = "Does what its arguments say. For tests."
type = "exec"
command = ["{python}", "coded.py"]

[sandbox]
level = "{level}"

[limits]
memory_bytes = 268435456
"""
_LEVELS = {"coded": "standard", "unconfined": "none"}
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
    """Make the worker below ``home``, in a sandbox and without; the WORKERS_PATH with both."""
    for worker_id, level in _LEVELS.items():
        folder = home / "workers" / worker_id
        folder.mkdir(parents=True)
        manifest = _MANIFEST.format(id=worker_id, level=level, python=sys.executable)
        (folder / "worker.toml").write_text(manifest)
        (folder / "coded.py").write_text(_CODE)
    return f"{CHECKOUT}/tests/workers:{home}/workers"


def coded(client: Client, code: str, worker_id: str = "coded", **args: object) -> dict:
    """A run that executes ``code``. That of the worker ``unconfined`` can reach its host, and any file."""
    arguments = {"code": textwrap.dedent(code), **args}
    return client.ask(client.thread(), "go", worker_id=worker_id, args=arguments)["runs"][0]
