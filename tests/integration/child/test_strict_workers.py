"""Workers at level ``strict`` as their pool starts them: what they reach, and what they are told."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.child import Children, protocol
from runtime.child.egress import Access
from runtime.errors import ChildFailed
from runtime.registry import Worker, discover, load
from runtime.sandbox import landlock, namespaces, refusals, seccomp
from runtime.sandbox.rules import Credential, Level, Rules
from runtime.settings import CHECKOUT, Settings
from runtime.settings import load as load_settings
from tests.support.certificates import certificate_for, server_context
from tests.support.fake_model import FakeModel, chunk, event, text
from tests.support.kernel import needs

pytestmark = needs(landlock.missing(), seccomp.supported(), namespaces.missing())
REGISTRY = discover([CHECKOUT / "workers"])
WITHIN = 30.0
PYTHON = 'id = "made"\nname = "Made"\ntype = "python"\nentrypoint_path = "made.py"\n'
STRICT = PYTHON + '[sandbox]\nlevel = "strict"\n'


@pytest.fixture
def settings() -> Iterator[Settings]:
    """The data folder is not below the folder that workers of these tests are in."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
        yield load_settings({"BRANCHLINE_HOME": home})


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeModel]:
    """A model's server with a certificate, whose name is model.test."""
    certificate = certificate_for("model.test", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        return resolve("127.0.0.1" if host == "model.test" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    model = FakeModel(server_context(certificate))
    yield model
    model.close()


@pytest.fixture
def children(settings: Settings) -> Iterator[Children]:
    basics = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    children = Children(settings, {**basics, "OPENAI_API_KEY": "sk-real", "ANTHROPIC_API_KEY": "sk-ant-real"})
    yield children
    children.close()


class Run:
    """A run that has ended: what its worker said, and where it connected."""

    def __init__(self, children: Children, worker: Worker, **config: Any) -> None:
        self.accesses: list[Access] = []
        child = children.start(worker, run_id="r", environ={"BRANCHLINE_API_URL": "http://api.test"})
        child.on_access(self.accesses.append)
        hello = {"role": "user", "type": "text", "content": "Hello"}
        line = {"type": "run", "run": {"id": "r"}, "config": worker.check_config(config), "messages": [hello]}
        child.send(json.dumps(line).encode())
        decoder = protocol.Decoder()
        self.said: list[protocol.WorkerEvent] = []
        while part := child.read():
            self.said += decoder.feed(part)
        self.said += decoder.end()
        assert child.wait(WITHIN) is not None
        log = b""
        while part := child.read_log():
            log += part
        self.log = log.decode()
        child.close()

    @property
    def text(self) -> str:
        return text(self.said)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Worker]:
    def make(source: str, manifest: str = STRICT) -> Worker:
        folder = tmp_path / "made"
        folder.mkdir()
        (folder / "made.py").write_text(source)
        (folder / "worker.toml").write_text(manifest)
        return load(folder)

    return make


def _strict(worker_id: str, model: FakeModel, variable: str, base_url: str, **more: Any) -> Worker:
    port = model.url.rpartition(":")[2]
    credential = Credential(f"model.test:{port}", variable, base_url, **more)
    rules = Rules(Level.STRICT, connect=(f"127.0.0.1:{port}",), credentials=(credential,))
    return replace(REGISTRY.get(worker_id), sandbox=rules, env=())


def test_openais_library_works_without_the_key(model: FakeModel, children: Children) -> None:
    model.answer = lambda: iter([chunk({"content": "Hel"}), chunk({"content": "lo"}), b"data: [DONE]\n\n"])
    worker = _strict("openai_worker", model, "OPENAI_API_KEY", "OPENAI_BASE_URL", path="/v1")

    run = Run(children, worker)

    assert run.text == "Hello", run.log
    assert model.headers[0]["authorization"] == "Bearer sk-real"
    assert [access.host for access in run.accesses] == ["model.test"]


def test_anthropics_library_works_without_the_key(model: FakeModel, children: Children) -> None:
    delta = {"type": "text_delta", "text": "Hello"}
    model.answer = lambda: iter([event("content_block_delta", index=0, delta=delta), event("message_stop")])
    more = {"header": "x-api-key", "format": "{}"}
    worker = _strict("anthropic_worker", model, "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", **more)

    run = Run(children, worker)

    assert run.text == "Hello", run.log
    assert model.headers[0]["x-api-key"] == "sk-ant-real"


def test_what_a_worker_connects_to_while_it_is_imported_is_refused_as_well(
    children: Children, make: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    worker = make(
        "import urllib.request\n"
        "try: SAID = urllib.request.urlopen('http://other.test/').read().decode()\n"
        "except OSError as error: SAID = str(error)\n"
        "def run(run): yield SAID\n"
    )

    run = Run(children, worker)

    assert 'add "other.test" to connect' in run.text
    assert run.accesses == []
    assert "worker made: while it was imported: Refused a connection to other.test:80" in caplog.text


def test_the_author_is_told_that_there_is_no_network_but_the_proxy(
    children: Children, make: Callable[..., Worker]
) -> None:
    worker = make(
        "import socket\ndef run(run): socket.create_connection(('example.com', 80))\n",
        STRICT + 'connect = ["api.example.com"]\n',
    )

    run = Run(children, worker)

    told = refusals.explain(run.log, children.sandboxing.policy(worker))
    assert told is not None
    assert "HTTPS_PROXY" in told
    assert "api.example.com" in told


def test_two_runs_of_a_worker_do_not_reach_each_other(
    children: Children, make: Callable[..., Worker]
) -> None:
    worker = make(
        "import socket\n"
        "def run(run):\n"
        "    try: socket.create_server(('127.0.0.1', 0)); yield 'listens'\n"
        "    except PermissionError: yield 'refused'\n"
    )
    assert Run(children, worker).text == "refused"


def test_credentials_are_not_handed_out_where_they_cannot_be_kept(
    children: Children, make: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces, "missing", lambda: "this machine has none")
    worker = make(
        "def run(run): yield 'x'\n",
        STRICT + '[sandbox.credentials."api.test"]\nenv = "OPENAI_API_KEY"\nbase_url_env = "URL"\n',
    )
    with pytest.raises(ChildFailed, match="this machine has none"):
        children.start(worker, run_id="r", environ={})


def test_a_worker_lacks_the_key_of_a_credential_that_the_pool_lacks(make: Callable[..., Worker]) -> None:
    worker = make("", STRICT + '[sandbox.credentials."api.test"]\nenv = "KEY"\nbase_url_env = "URL"\n')
    assert worker.unavailable({}) == "KEY is not set; set it where the pool runs"
    assert worker.unavailable({"KEY": "x"}) is None
