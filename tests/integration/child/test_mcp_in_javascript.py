"""run.mcp() of the package for JavaScript, with the official library, which is installed for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.child import Children, protocol
from runtime.registry import load
from runtime.settings import CHECKOUT
from runtime.system.processes import has_ended
from runtime.testing.ports import free_port
from runtime.testing.waiting import until
from tests.support.frameworks import need
from tests.support.node_sdk import install, needs_node

pytestmark = [needs_node, pytest.mark.frameworks]

WITHIN = 60.0
FILES = CHECKOUT / "tests" / "node_sdk" / "with_mcp"
SERVER = CHECKOUT / "tests" / "support" / "mcp_server.py"
LIBRARY = "@modelcontextprotocol/sdk@1"
SLEEPER = """
export default async function (run) {
  const tools = await run.mcp({ numbers: { command: "node", args: ["server.mjs"] } });
  run.step(await tools.get("pid")());
  await tools.get("sleep_long")();
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A worker's folder in which the library is installed."""
    folder = tmp_path_factory.mktemp("worker")
    install(folder, LIBRARY)
    for file in FILES.iterdir():
        shutil.copy(file, folder)
    (folder / "sleeper.js").write_text(SLEEPER)
    (folder / "worker.toml").write_text(
        'id = "sleeper"\nname = "Sleeper"\ntype = "node"\nentrypoint_path = "sleeper.js"\n'
    )
    return folder


def test_the_tools_of_a_real_server_are_functions(folder: Path) -> None:
    _passes(folder, "mcp.test.mjs", MCP_PORT=str(free_port()))


@pytest.mark.slow
def test_what_a_server_asks_is_asked_of_the_user(folder: Path) -> None:
    need("mcp")
    server = {"MCP_PYTHON": sys.executable, "MCP_SERVER": str(SERVER), "MCP_PORT": str(free_port())}
    _passes(folder, "questions.test.mjs", **server)


def _passes(folder: Path, tests: str, **environ: str) -> None:
    done = subprocess.run(
        ["node", "--test", tests],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("end", ["cancel", "kill"])
def test_no_server_is_left_when_the_run_ends(children: Children, folder: Path, end: str) -> None:
    line = json.dumps({"type": "run", "protocol": 1, "run": {"id": "r"}}).encode() + b"\n"
    child = children.start(load(folder), run_id="r", environ={}, line=line)
    decoder, said = protocol.Decoder(), list[protocol.WorkerEvent]()
    while sum(isinstance(event, protocol.Start) for event in said) < 2:
        chunk = child.read()
        assert chunk, child.read_log()
        said += decoder.feed(chunk)
    (pid,) = [int(event.description) for event in said if isinstance(event, protocol.Step)]
    assert not has_ended(pid)

    if end == "cancel":
        child.send(b'{"type":"cancel"}\n')
        while chunk := child.read():
            said += decoder.feed(chunk)
        results = [event for event in said if isinstance(event, protocol.CompleteMessage)]
        assert results[-1].data["result"] == "Cancelled."
    else:
        child.kill_group()
    child.wait(WITHIN)
    child.close()
    until(lambda: has_ended(pid), WITHIN, "the end of the server")
