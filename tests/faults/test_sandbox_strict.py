"""What a hostile run at level ``strict`` tries to reach a network, and what it is answered."""

from __future__ import annotations

import json
import os
import socket
import sysconfig
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runtime.sandbox import landlock, namespaces, seccomp
from runtime.settings import CHECKOUT
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.faults.test_sandbox_ledger import NO_UIDS, make_installation, started_by
from tests.support.certificates import certificate_for, server_context
from tests.support.hostile import KINDS
from tests.support.kernel import needs
from tests.support.strict import ACTS, write_strict_workers

pytestmark = needs(landlock.missing(), seccomp.supported(), namespaces.missing())

POSSIBLE = ("reach_the_api", "reach_a_host_that_is_named", "use_the_credential")
"""What a run must be able to do; all other acts must be refused."""
SECRET = "sk-that-no-run-may-have-0123456789"
NAMES = [line.partition("(")[0].removeprefix("def ") for line in ACTS.read_text().split("@act\n")[1:]]


class _Handler(BaseHTTPRequestHandler):
    """A host on the internet: it redirects, and says which key it was sent."""

    def do_GET(self) -> None:
        redirected = self.path == "/redirect"
        body = f"{self.path} {self.headers['Authorization']}".encode()
        self.send_response(302 if redirected else 200)
        self.send_header("Content-Length", str(len(body)))
        if redirected:
            self.send_header("Location", "https://other.example/")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class Victim:
    """An installation with strict workers, and a host that they may reach."""

    stack: Stack
    redis: RedisServer
    client: Client
    server: str
    unix_socket: str
    results: dict[str, dict[str, str]] = field(default_factory=dict)
    """Kind of worker → act → what it got."""
    runs: dict[str, str] = field(default_factory=dict)
    """Kind of worker → its run."""

    def tried(self, kind: str) -> dict[str, str]:
        """What a run of that kind got for every act."""
        if kind not in self.results:
            asked = self.client.ask(
                self.client.thread(),
                "go",
                worker_id=f"hostile_{kind}",
                args={"acts": NAMES, **self._target()},
            )
            ended = self.client.wait(asked["runs"][0], timeout=90)
            assert ended["run"]["status"] == "success", (
                ended["run"]["error"],
                self.stack.log("pool hostile"),
            )
            self.runs[kind] = ended["run"]["id"]
            self.results[kind] = json.loads(ended["messages"][0]["content"].splitlines()[1])
        return self.results[kind]

    def _target(self) -> dict[str, Any]:
        return {
            "redis_port": self.redis.port,
            "web_port": self.stack.port,
            "own_address": _own_address(),
            "unix_socket": self.unix_socket,
            "server": self.server,
            "secret": SECRET,
            "pids": [self.stack.pool_process("hostile"), *(p.pid for p in self.stack.processes.values())],
        }


def _own_address() -> str:
    """An address of this machine that is not its loopback's, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        if probe.connect_ex(("192.0.2.1", 9)) == 0:
            return str(probe.getsockname()[0])
    return "127.0.0.2"


@pytest.fixture(
    scope="module", params=["root", pytest.param(NO_UIDS, marks=pytest.mark.slow), "ordinary user"]
)
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    python, user = started_by(request.param)
    with ExitStack() as undo:
        # Not in pytest's folder, through which nobody but its owner can pass.
        root = Path(undo.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        certificate = certificate_for("localhost", root)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.socket = server_context(certificate).wrap_socket(server.socket, server_side=True)
        port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        undo.callback(server.server_close)
        undo.callback(server.shutdown)

        redis = undo.enter_context(RedisServer(tmp_path_factory.mktemp("redis"), password="unknown"))
        workers = root / "workers"
        home, libraries, url = make_installation(root, user)
        unix = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        unix.bind(str(root / "socket"))
        os.chmod(root / "socket", 0o666)  # noqa: S103  # nothing but its level keeps a run from it

        stack = Stack(
            home,
            url,
            redis.url,
            ("hostile",),
            from_python=True,
            python=python,
            user=user,
            WORKERS_PATH=str(workers),
            PYTHONPATH=os.pathsep.join([str(CHECKOUT), sysconfig.get_path("purelib"), str(libraries)]),
            SSL_CERT_FILE=str(certificate),
            MODEL_API_KEY=SECRET,
            BRANCHLINE_RUN_MAX_ATTEMPTS="1",
        )
        write_strict_workers(
            workers,
            python,
            f"""connect = ["localhost:{port}", "127.0.0.1:{port}", "localhost:{stack.port}"]
[sandbox.credentials."localhost:{port}"]
env = "MODEL_API_KEY"
base_url_env = "MODEL_BASE_URL"
path = "/v1"
""",
            certificate,
        )
        undo.enter_context(stack)
        client = undo.enter_context(closing(stack.client()))
        yield Victim(stack, redis, client, f"https://localhost:{port}", str(root / "socket"))


@pytest.mark.parametrize("act", [name for name in NAMES if name not in POSSIBLE])
@pytest.mark.parametrize("kind", KINDS)
def test_a_strict_run_is_refused(victim: Victim, kind: str, act: str) -> None:
    assert victim.tried(kind)[act].startswith("refused: "), victim.tried(kind)[act]


@pytest.mark.parametrize("kind", KINDS)
def test_a_strict_run_reaches_what_its_worker_toml_names(victim: Victim, kind: str) -> None:
    tried = victim.tried(kind)
    assert tried["reach_a_host_that_is_named"] == "done: /named None"
    assert tried["reach_the_api"] == f"done: {victim.runs[kind]}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_credential_is_sent_that_a_strict_run_never_has(victim: Victim, kind: str) -> None:
    assert victim.tried(kind)["use_the_credential"] == f"done: /v1/chat Bearer {SECRET}"


@pytest.mark.parametrize("kind", KINDS)
def test_where_a_run_connects_and_is_refused_are_its_steps(victim: Victim, kind: str) -> None:
    victim.tried(kind)
    [attempt] = victim.client.get(f"/api/runs/{victim.runs[kind]}/attempts").json()["items"]
    steps = [step["description"] for step in attempt["steps"]]
    port = victim.server.rpartition(":")[2]
    assert f"Connected to localhost:{port}" in steps
    assert any(
        'connection to other.example:443: add "other.example" to connect in [sandbox] of worker.toml' in step
        for step in steps
    )
    assert len(steps) == len(set(steps))
