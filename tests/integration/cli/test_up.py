"""`branchline up`, which is what `make run` starts: one command, everything, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from runtime.settings import CHECKOUT
from runtime.testing.client import Client
from runtime.testing.ports import free_port
from runtime.testing.sse import Text
from runtime.testing.waiting import until
from tests.support.reader import Reader

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
    pytest.mark.timeout(240),
]

READY_WITHIN = 90.0
"""Seconds; five processes import everything at once, on a machine that may be busy."""


class Up:
    """One `branchline up`, and what it prints."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port, self.flower_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {
            "PATH": os.environ["PATH"],
            "BRANCHLINE_HOME": str(home),
            "PORT": str(self.port),
            "FLOWER_PORT": str(self.flower_port),
            "BRANCHLINE_GRADIO_PORT": str(free_port()),
            "WORKERS_PATH": str(CHECKOUT / "tests" / "workers"),
        }
        self.lines: list[str] = []

    def start(self) -> None:
        """Start it and wait until it says that everything runs."""
        self.lines.clear()
        self.process = self.launch()
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        until(
            lambda: self.printed("Branchline is running") or self.process.poll() is not None,
            READY_WITHIN,
            self.text,
        )
        assert self.process.poll() is None, self.text()

    def launch(self, **more: str) -> subprocess.Popen[str]:
        """Start it and wait for nothing."""
        return subprocess.Popen(
            [sys.executable, "-m", "runtime", "up"],
            env=self.environ | more,
            cwd=CHECKOUT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def refused(self, **more: str) -> str:
        """What it prints where it must refuse to start."""
        process = self.launch(**more)
        text, _ = process.communicate(timeout=30)
        assert process.returncode == 1, text
        assert len(text.splitlines()) == 1, text
        return text

    def printed(self, text: str) -> bool:
        return text in self.text()

    def text(self) -> str:
        return "".join(self.lines)

    def end(self, number: int) -> int:
        """Signal it and wait. Returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def family(self) -> set[tuple[int, str]]:
        """Every process below it, told apart by when it was started."""
        return set(descendants(self.process.pid))

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            self.lines.extend(output)


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; empty where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def descendants(root: int) -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := stat_of(int(entry.name))) and int(fields[1]) == root:
            yield int(entry.name), fields[19]
            yield from descendants(int(entry.name))


def gone(family: set[tuple[int, str]]) -> bool:
    return not any(
        (fields := stat_of(pid)) and fields[0] != "Z" and fields[19] == born for pid, born in family
    )


@contextmanager
def running(home: Path) -> Iterator[Up]:
    up = Up(home)
    up.start()
    try:
        yield up
    finally:
        family = up.family() | {(up.process.pid, "")}
        if up.process.poll() is None:
            up.end(signal.SIGTERM)
        until(lambda: gone(family), what="every process is gone")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """What the tests of this module share; who ends it starts it again."""
    with running(tmp_path_factory.mktemp("up") / "home") as up:
        yield up


def sign_in(up: Up) -> dict[str, str]:
    body = {"email": "dev@example.com", "password": "branchline", "token": True}
    answer = httpx.post(f"{up.url}/api/auth/login", json=body, timeout=10)
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def echo(up: Up, text: str) -> tuple[str, str]:
    """Have `echo` repeat ``text`` on a new thread. Returns the thread and the answer."""
    body = {"worker_id": "echo", "messages": [{"role": "user", "content": text}]}
    with httpx.Client(base_url=up.url, headers=sign_in(up), timeout=40) as client:
        made = client.post("/api/runs", json=body).json()
        done = client.get(f"/api/runs/{made['runs'][0]['id']}/wait", params={"timeout": 30}).json()
    return made["thread"]["id"], done["messages"][-1]["content"]


def test_up_prints_where_everything_is(up: Up) -> None:
    for text in (
        up.url,
        f"{up.url}/api/docs",
        f"http://127.0.0.1:{up.flower_port}",
        "dev@example.com",
        "Ctrl-C",
    ):
        assert up.printed(text)


def test_the_development_account_can_start_a_run_at_once(up: Up) -> None:
    assert echo(up, "hello,  world")[1] == "hello,  world"


def chat(up: Up, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runtime", "chat", *arguments]
    return subprocess.run(
        command, env=up.environ, cwd=CHECKOUT, input=stdin, capture_output=True, text=True, timeout=60
    )


def test_chat_prints_the_answer_exactly(up: Up) -> None:
    asked = chat(up, "echo", "-m", " two  spaces, [bold], 世界 😀")
    assert (asked.stdout, asked.stderr, asked.returncode) == (" two  spaces, [bold], 世界 😀\n", "", 0)


def test_chat_edits_and_switches_branches(up: Up) -> None:
    stdin = "first\nsecond\n/edit 2 changed\n/branches\n/switch 1\n/again\n/branches\n/edit 9\n/bogus\n"
    lines = chat(up, "echo", stdin=stdin).stdout.replace("> ", "\n").splitlines()
    listed = [line.split() for line in lines if re.match(r"[* ] \d", line)]
    assert listed == [
        ["1", "2", "second"],
        ["*", "2", "2", "changed"],
        ["1", "2", "second"],
        ["2", "2", "changed"],
        ["*", "3", "2", "second"],
    ]
    assert "There is no question 9 on this branch; it has 2." in lines
    assert "Unknown command /bogus; type /help for a list." in lines


def test_chat_answers_the_questions_of_a_run(up: Up) -> None:
    asked = chat(up, "fake", "-m", "ask me", "--config", '{"mode": "confirm_twice"}', stdin="yes\nno\n")
    assert (asked.stdout, asked.stderr) == ("one \nFirst? two \nSecond? yes and no\n", "")
    assert asked.returncode == 0


def test_chat_asks_again_until_the_answer_fits_the_question(up: Up) -> None:
    given = 'x\n{"name": "A"}\n{"name": "Ada"}\n'
    asked = chat(up, "fake", "-m", "order", "--config", '{"mode": "question_form"}', stdin=given)
    assert asked.stdout.count("What shall I order? (JSON: {name: string, count: integer})") == 3
    assert "answer.name: 'A' is too short" in asked.stdout
    assert asked.stdout.endswith('{"count": 3, "name": "Ada"}\n')


def test_a_question_that_comes_back_as_another_one_ends_the_run(up: Up) -> None:
    asked = chat(up, "fake", "-m", "delete", "--config", '{"mode": "another_question"}', stdin="yes\n")
    assert "Shall I delete 1 files?" in asked.stdout
    assert "The question '1' asks something else than was answered." in asked.stdout
    assert asked.returncode == 1


def test_chat_cancels_a_run_whose_question_nobody_answers(up: Up) -> None:
    asked = chat(up, "fake", "-m", "ask me", "--config", '{"mode": "confirm_twice"}', stdin="")
    assert (asked.returncode, asked.stdout.splitlines()[-1]) == (1, "cancelled")


def test_ctrl_c_in_chat_cancels_the_run(up: Up) -> None:
    command = [
        sys.executable,
        "-m",
        "runtime",
        "chat",
        "echo",
        "-m",
        "one " * 500,
        "--config",
        '{"delay_ms": 50}',
    ]
    with subprocess.Popen(
        command, env=up.environ, cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(3) == "one"
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "cancelled" in rest.splitlines()[-1]


def test_flower_requires_the_password_that_was_printed(up: Up) -> None:
    found = re.search(r"user (\S+), password (\S+) ", up.text())
    assert found is not None
    address = f"http://127.0.0.1:{up.flower_port}/workers"
    assert httpx.get(address, timeout=10).status_code == 401
    assert httpx.get(address, auth=(found[1], found[2]), timeout=10).status_code == 200


def test_secrets_are_readable_by_their_owner_only(up: Up) -> None:
    for name in ("secret", "flower.password", "redis.url", "redis/redis.conf", "up.lock", "branchline.db"):
        assert stat.S_IMODE((up.home / name).stat().st_mode) == 0o600, name
    assert not [path for path in (up.home, *up.home.rglob("*")) if path.lstat().st_mode & 0o077]


def test_no_password_is_on_any_command_line(up: Up) -> None:
    password = (up.home / "redis.url").read_text().split(":")[2].split("@")[0]
    lines = command_lines(up).values()
    assert lines
    assert not any(password.encode() in line for line in lines)


def command_lines(up: Up) -> dict[int, bytes]:
    """Of all its processes."""
    lines = {}
    for pid, _ in up.family():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            lines[pid] = Path(f"/proc/{pid}/cmdline").read_bytes()
    return lines


def test_a_second_up_is_refused_on_the_same_data(up: Up) -> None:
    text = up.refused(PORT=str(free_port()), FLOWER_PORT=str(free_port()))
    assert f"already running on {up.home} (process {up.process.pid})" in text


def test_up_leaves_the_gradio_page_out_where_gradio_is_missing_and_says_so(up: Up) -> None:
    assert up.printed("gradio is not installed, so its page is left out") == (find_spec("gradio") is None)


@pytest.mark.parametrize("name", ["PORT", "FLOWER_PORT"])
def test_up_is_refused_when_a_port_is_used(up: Up, tmp_path: Path, name: str) -> None:
    free = {"PORT": str(free_port()), "FLOWER_PORT": str(free_port()), "BRANCHLINE_HOME": str(tmp_path)}
    text = up.refused(**free | {name: str(up.port)})
    assert f"Port {up.port} of 127.0.0.1 is used" in text
    assert f"{name}={up.port + 1} make run" in text


def test_a_killed_process_is_restarted_while_the_others_go_on(up: Up) -> None:
    children = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid, _ in direct_children(up)}
    web = next(pid for pid, line in children.items() if b"gunicorn" in line)
    os.kill(web, signal.SIGKILL)
    until(lambda: up.printed("web ended with SIGKILL"), what="the end was noticed")
    until(lambda: answers(f"{up.url}/readyz"), READY_WITHIN, "the web process is back")
    left = {pid for pid, _ in direct_children(up)}
    assert left >= set(children) - {web}
    assert echo(up, "again")[1] == "again"


def direct_children(up: Up) -> list[tuple[int, str]]:
    return [(pid, born) for pid, born in up.family() if stat_of(pid)[1:2] == [str(up.process.pid)]]


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_the_whole_api_works_by_http_alone(up: Up) -> None:
    with Client(up.url) as client:
        account = {"email": "new@example.com", "password": "a long password"}
        assert client.post("/api/auth/register", json=account).status_code == 201
        thread = client.thread(title="A first thread")
        first = client.ask(thread, "How are you?")
        text = Text()
        for event in client.follow(first["runs"][0]):
            text.apply(event)
        assert list(text.messages.values()) == ["How are you?"]

        second = client.ask(thread, "How is she?")
        client.wait(second["runs"][0])
        branches = [
            [
                m["content"]
                for m in client.get(f"/api/states/{asked['states'][0]['id']}/messages").json()["items"]
            ]
            for asked in (first, second)
        ]
        assert branches == [["How are you?"] * 2, ["How is she?"] * 2]
        tree = client.get(f"/api/threads/{thread['id']}/states").json()["items"]
        assert [state["parent_id"] for state in tree].count(thread["root_state_id"]) == 2

        cancelled = client.ask(thread, "word " * 100, config={"delay_ms": 100})["runs"][0]
        client.post(f"/api/runs/{cancelled['id']}/cancel")
        assert client.wait(cancelled)["run"]["status"] == "cancelled"


@pytest.mark.slow
def test_a_reader_loses_nothing_when_the_pool_is_killed(up: Up) -> None:
    with Client(up.url) as client:
        account = {"email": "other@example.com", "password": "a long password"}
        client.post("/api/auth/register", json=account).raise_for_status()
        [pool] = [pid for pid, line in command_lines(up).items() if b"runtime.pool.process\0python" in line]
        words = " ".join(f"word{number}" for number in range(60))
        [run] = client.ask(client.thread(), words, config={"delay_ms": 50})["runs"]
        reader = Reader(client, run)
        until(lambda: reader.deltas() > 3, what="the answer has begun")
        os.kill(pool, signal.SIGKILL)

        reader.wait()
        result = client.wait(run)
        assert (result["run"]["status"], result["run"]["attempt"]) == ("success", 2)
        assert [message["content"] for message in result["messages"]] == [words]
        assert list(reader.text.messages.values()) == [words]


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_and_keeps_the_data(up: Up) -> None:
    thread, _ = echo(up, "remember me")
    family = up.family()
    assert len(family) >= 8
    before = len(up.text())
    assert up.end(signal.SIGINT) == 0
    until(lambda: gone(family), what="every process is gone")
    until(lambda: up.printed("Stopped."))
    assert "ERROR" not in up.text()[before:]
    up.start()
    answer = httpx.get(f"{up.url}/api/threads", params={"query": "remember"}, headers=sign_in(up), timeout=10)
    assert [found["id"] for found in answer.json()["items"]] == [thread]


@pytest.mark.slow
def test_no_process_survives_when_up_is_killed(up: Up) -> None:
    family = up.family()
    assert up.end(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: gone(family), what="every process is gone")
    up.environ["LOG_FORMAT"] = "json"  # for the next test: it takes long to start
    up.start()
    assert echo(up, "and again")[1] == "and again"


def test_with_log_format_json_each_line_is_an_object_of_its_process(up: Up) -> None:
    [pool] = [pid for pid, line in command_lines(up).items() if b"runtime.pool.process\0python" in line]
    os.kill(pool, signal.SIGKILL)
    until(lambda: up.printed("ended with SIGKILL"), what="the end was noticed")
    assert up.end(signal.SIGINT) == 0
    until(lambda: up.printed("Stopped."))

    entries = [json.loads(line) for line in up.lines]
    for entry in entries:
        assert {"time", "level", "logger", "message", "pid", "process"} <= entry.keys(), entry
    assert {entry["process"] for entry in entries} >= {"up", "web", "pool-python"}
    about = {entry["process"] for entry in entries if "run_id" in entry}
    assert about == {"pool-python"}
    assert "Branchline is running" in {entry["message"][:21] for entry in entries if entry["process"] == "up"}
    assert not up.printed("password")
