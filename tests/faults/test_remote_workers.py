"""Machines elsewhere that execute runs over HTTP: what they say counts once, whatever becomes of them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from runtime.services import Services
from runtime.settings import load
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.cable import Cable
from tests.support.machine_elsewhere import MachineElsewhere, forget_offers
from tests.support.namespace import Namespace, existing

WITHIN = 60
BEHIND_A_LINE = Namespace("web")
SERVER_SIDE = 'id = "coded"\nname = "Coded"\ntype = "remote"\n'
OWN_SIDE = f'id = "coded"\nname = "Coded"\ntype = "exec"\ncommand = ["{sys.executable}", "coded.py"]\n'
CODE = """
import json, os, signal, sys, time
first = json.loads(sys.stdin.readline())
args, attempt = first["args"], first["run"]["attempt"]

def say(**event):
    print(json.dumps(event), flush=True)

def ask(**line):
    say(**line)
    return json.loads(sys.stdin.readline())

def until(path):
    while not os.path.exists(path):
        time.sleep(0.01)

exec(args["code"])
"""


class Remote(MachineElsewhere):
    """A machine elsewhere that reaches the web process by a cable, and nothing else."""

    def __init__(self, stack: Stack, token: str, folder: Path, begin: str = "127.0.0.1", **how: Any) -> None:
        """``begin``: where it sees the beginning of its cable."""
        self.cable = Cable("127.0.0.1", stack.port, begin)
        super().__init__(f"http://{begin}:{self.cable.port}", token, folder, **how)

    def kill(self) -> None:
        """End it, however it is."""
        super().kill()
        self.cable.close()


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    folder = home / "workers" / "coded"
    folder.mkdir(parents=True)
    (folder / "worker.toml").write_text(SERVER_SIDE)
    settings = {
        "BRANCHLINE_WEB_HOSTS": BEHIND_A_LINE.address("web"),
        "WORKERS_PATH": str(folder.parent),
        "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
        "BRANCHLINE_POOL_LEASE": "4",
        "BRANCHLINE_POOL_RENEW": "1",
    }
    with Stack(home, stack_database_url, stack_redis.url, ("remote",), **settings) as stack:
        yield stack


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    return stack.run("token", "create", "--pool", "remote").strip()


@pytest.fixture(scope="module")
def services(stack: Stack) -> Services:
    return Services(load(stack.environ))


@pytest.fixture
def machine(stack: Stack, token: str, tmp_path: Path, services: Services) -> Iterator[Any]:
    """Starts machines elsewhere."""
    folder = tmp_path / "coded"
    folder.mkdir()
    (folder / "worker.toml").write_text(OWN_SIDE)
    (folder / "coded.py").write_text(CODE)
    with ExitStack() as ends:
        ends.callback(forget_offers, services)

        def start(secret: str = token, behind: Namespace | None = None, **how: Any) -> Remote:
            if behind is not None:
                how |= {"begin": behind.address("web"), "through": behind.through}
            remote = Remote(stack, secret, folder, **how)
            ends.callback(remote.kill)
            return remote

        yield start


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A machine that can be cut off from the web process."""
    with existing(BEHIND_A_LINE) as made:
        yield made


def coded(client: Client, code: str, timeout: float | None = None, **args: Any) -> dict[str, Any]:
    options = {"worker_id": "coded", "args": {"code": code, **args}, "timeout": timeout}
    asked = client.ask(client.thread(), "go", **options)
    return asked["runs"][0]  # type: ignore[no-any-return]


def result_of(client: Client, run: dict[str, Any]) -> tuple[str, int, str]:
    ended = client.wait(run, WITHIN)
    text = "|".join(message["content"] for message in ended["messages"] if message["role"] == "assistant")
    return ended["run"]["status"], ended["run"]["attempt"], text


def test_a_run_waits_for_a_machine_and_is_executed_there(client: Client, machine: Any) -> None:
    code = (
        "print('to the log'); sys.stderr.write('an error\\n'); say(type='delta', text='Hi '); "
        "saved = ask(type='save', key='k', value=[1]); found = ask(type='inbox'); "
        "say(type='delta', text=saved['type'] + str(found['message'])); say(type='done')"
    )
    run = coded(client, code)
    assert client.run(run)["status"] == "queued"

    machine()

    assert result_of(client, run) == ("success", 1, "Hi savedNone")
    [log] = client.get(f"/api/runs/{run['id']}/log").json()["items"]
    assert {"to the log", "an error"} <= set(log["text"].splitlines())


def test_branchline_remote_executes_the_workers_of_the_folders_that_every_command_has(
    client: Client, machine: Any
) -> None:
    remote = machine(of_branchline=True)

    assert result_of(client, coded(client, "say(type='delta', text='hello')")) == ("success", 1, "hello")

    remote.process.send_signal(signal.SIGTERM)
    assert remote.process.wait(20) == 0


def test_a_program_that_fails_fails_its_run(client: Client, machine: Any) -> None:
    machine()
    run = coded(client, "say(type='delta', text='half'); sys.exit(3)")

    assert result_of(client, run) == ("error", 1, "half")
    error = client.run(run)["error"]
    assert (error["code"], error["message"]) == ("worker_crashed", "The worker ended with exit code 3.")


def test_a_run_is_cancelled_there(client: Client, machine: Any, tmp_path: Path) -> None:
    machine()
    gate = tmp_path / "pid"
    run = coded(client, "open(args['gate'], 'w').write(str(os.getpid())); time.sleep(60)", gate=str(gate))
    until(lambda: gate.exists() and gate.read_text(), WITHIN)

    client.post(f"/api/runs/{run['id']}/cancel", json={"wait": 20})

    assert client.run(run)["status"] == "cancelled"
    until(lambda: not alive(int(gate.read_text())), WITHIN, "its process has ended")


def test_a_run_whose_time_is_over_is_told_so_and_has_last_words(client: Client, machine: Any) -> None:
    machine()
    code = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); say(type='delta', text='on and on')\n"
        "say(type='delta', text=' until ' + json.loads(sys.stdin.readline())['type'])"
    )
    run = coded(client, code, timeout=3)  # enough for its process to begin

    assert result_of(client, run) == ("timeout", 1, "on and on until timeout")
    assert client.run(run)["error"]["code"] == "timeout"


def test_a_sub_run_waits_for_a_machine(client: Client, machine: Any) -> None:
    machine()
    code = (
        "called = ask(type='call', id='a', worker_id='coded', args={'code': args['below']})\n"
        "say(type='delta', text=called['type'])\n"
        "while (line := json.loads(sys.stdin.readline()))['type'] != 'result': pass\n"
        "say(type='delta', text=' ' + line['messages'][-1]['content'])"
    )
    run = coded(client, code, below="say(type='delta', text='below')")
    with client.stream(f"/api/runs/{run['id']}/events") as events:
        next(event for event in events if event.type == "message.delta")
    [below] = client.get(f"/api/runs/{run['id']}/children").json()["items"]
    assert below["status"] == "queued", "the only machine executes its caller"

    machine()

    assert result_of(client, run) == ("success", 1, "called below")


def test_the_text_of_a_sub_run_is_followed_there(client: Client, machine: Any, tmp_path: Path) -> None:
    machine()
    machine()
    below = "say(type='delta', text='one'); until(args['gate']); say(type='delta', text=' two')"
    code = (
        "called = ask(type='call', id='a', worker_id='coded', args=args['below'])\n"
        "say(type='follow', id='a')\n"
        "piece = json.loads(sys.stdin.readline()); open(args['below']['gate'], 'a').close()\n"
        "say(type='delta', text=called['type'] + ': ' + piece['text'])\n"
        "while (line := json.loads(sys.stdin.readline()))['type'] != 'result': pass\n"
        "say(type='delta', text='|' + line['messages'][-1]['content'])"
    )
    run = coded(client, code, below={"code": below, "gate": str(tmp_path / "gate")})

    assert result_of(client, run) == ("success", 1, "called: one|one two")


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)])
def test_a_machine_that_dies_or_hangs_loses_its_run_to_another(
    client: Client, machine: Any, tmp_path: Path, number: int
) -> None:
    first = machine()
    run = coded(
        client,
        "say(type='delta', text=f'attempt {attempt}'); open(args['gate'], 'a').close(); "
        "time.sleep(60 if attempt == 1 else 0); say(type='done')",
        gate=str(tmp_path / "gate"),
    )
    until((tmp_path / "gate").exists, WITHIN)

    first.process.send_signal(number)
    machine()

    assert result_of(client, run) == ("success", 2, "attempt 2")


def test_a_machine_that_drains_hands_its_run_to_another(client: Client, machine: Any, tmp_path: Path) -> None:
    first = machine()
    run = coded(
        client,
        "open(args['gate'], 'a').close(); time.sleep(60 if attempt == 1 else 0); "
        "say(type='delta', text=f'attempt {attempt}'); say(type='done')",
        gate=str(tmp_path / "gate"),
    )
    until((tmp_path / "gate").exists, WITHIN)

    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(20) == 0
    machine()

    assert result_of(client, run) == ("success", 2, "attempt 2")
    assert client.run(run)["failures"] == 0


def test_a_machine_that_has_drained_offers_nothing(machine: Any, services: Services) -> None:
    idle = machine()
    until(lambda: services.offers.count("remote"), WITHIN)

    idle.process.send_signal(signal.SIGTERM)

    assert idle.process.wait(20) == 0
    assert services.offers.count("remote") == 0


@pytest.mark.slow
def test_a_cut_that_is_shorter_than_a_lease_costs_nothing(
    client: Client, machine: Any, tmp_path: Path
) -> None:
    remote = machine()
    gates = [str(tmp_path / name) for name in ("begun", "go")]
    run = coded(
        client,
        "say(type='delta', text='a'); open(args['gates'][0], 'a').close(); until(args['gates'][1])\n"
        "for n in range(100): say(type='delta', text='b')\n"
        "say(type='done')",
        gates=gates,
    )
    until((tmp_path / "begun").exists, WITHIN)

    remote.cable.cut()
    (tmp_path / "go").touch()
    remote.cable.join()

    assert result_of(client, run) == ("success", 1, "a" + "b" * 100)


@pytest.mark.slow
def test_a_machine_behind_a_silent_cable_kills_its_worker_and_another_goes_on(
    client: Client, machine: Any, tmp_path: Path
) -> None:
    remote = machine()
    gate = tmp_path / "pid"
    run = coded(
        client,
        "if attempt == 1: open(args['gate'], 'w').write(str(os.getpid())); time.sleep(60)\n"
        "say(type='delta', text=f'attempt {attempt}'); say(type='done')",
        gate=str(gate),
    )
    until(lambda: gate.exists() and gate.read_text(), WITHIN)

    remote.cable.silence()
    until(lambda: not alive(int(gate.read_text())), WITHIN, "its process has ended")
    assert client.run(run)["attempt"] == 1, "the worker was killed before another attempt began"
    machine()

    assert result_of(client, run) == ("success", 2, "attempt 2")


@pytest.mark.slow
def test_a_line_that_is_down_for_less_than_a_lease_costs_nothing(
    client: Client, machine: Any, tmp_path: Path, namespace: Namespace
) -> None:
    machine(behind=namespace)
    gates = {name: str(tmp_path / name) for name in ("begun", "down", "said", "up")}
    run = coded(
        client,
        "say(type='delta', text='a'); open(args['gates']['begun'], 'a').close()\n"
        "until(args['gates']['down'])\n"
        "for n in range(10): say(type='delta', text='b'); time.sleep(0.02)\n"
        "open(args['gates']['said'], 'a').close(); until(args['gates']['up'])\n"
        "kept = ask(type='save', key='k', value=attempt); say(type='delta', text=kept['type'])",
        gates=gates,
    )
    until((tmp_path / "begun").exists, WITHIN)

    namespace.cut("web")
    (tmp_path / "down").touch()
    until((tmp_path / "said").exists, WITHIN)
    namespace.join()
    (tmp_path / "up").touch()

    assert result_of(client, run) == ("success", 1, "a" + "b" * 10 + "saved")


@pytest.mark.slow
def test_a_machine_whose_line_is_down_for_longer_than_a_lease_has_killed_its_worker_before(
    client: Client, machine: Any, tmp_path: Path, namespace: Namespace
) -> None:
    cut_off = machine(behind=namespace)
    gate = tmp_path / "pid"
    run = coded(
        client,
        "say(type='delta', text=f'attempt {attempt}')\n"
        "if attempt == 1: open(args['gate'], 'w').write(str(os.getpid())); time.sleep(60)",
        gate=str(gate),
    )
    until(lambda: gate.exists() and gate.read_text(), WITHIN)

    namespace.cut("web")
    until(lambda: not alive(int(gate.read_text())), WITHIN, "its process has ended")
    assert client.run(run)["attempt"] == 1, "the worker was killed before another attempt began"
    other = machine()
    assert result_of(client, run) == ("success", 2, "attempt 2")

    other.kill()
    namespace.join()
    again = coded(client, "say(type='delta', text='here again')")
    assert result_of(client, again)[::2] == ("success", "here again")
    assert cut_off.process.poll() is None
    assert result_of(client, run) == ("success", 2, "attempt 2")


@pytest.mark.slow
def test_a_machine_that_goes_on_after_a_pause_ends_its_worker_and_says_nothing(
    client: Client, machine: Any, tmp_path: Path
) -> None:
    first = machine()
    gate = tmp_path / "pid"
    run = coded(
        client,
        "if attempt == 1: open(args['gate'], 'w').write(str(os.getpid()))\n"
        "while attempt == 1: say(type='delta', text='.'); time.sleep(0.05)\n"
        "say(type='delta', text='attempt 2')",
        gate=str(gate),
    )
    until(lambda: gate.exists() and gate.read_text(), WITHIN)

    first.process.send_signal(signal.SIGSTOP)
    machine()
    assert result_of(client, run) == ("success", 2, "attempt 2")
    first.process.send_signal(signal.SIGCONT)

    until(lambda: not alive(int(gate.read_text())), WITHIN, "its process has ended")
    assert result_of(client, run) == ("success", 2, "attempt 2")


@pytest.mark.slow
def test_a_machine_whose_pool_dies_ends_its_worker_and_has_the_next_attempt(
    client: Client, machine: Any, stack: Stack, tmp_path: Path
) -> None:
    machine()
    gate = tmp_path / "pid"
    run = coded(
        client,
        "say(type='delta', text=f'attempt {attempt}')\n"
        "if attempt == 1: open(args['gate'], 'w').write(str(os.getpid())); time.sleep(60)",
        gate=str(gate),
    )
    until(lambda: gate.exists() and gate.read_text(), WITHIN)

    os.kill(stack.pool_process("remote"), signal.SIGKILL)

    assert result_of(client, run) == ("success", 2, "attempt 2")
    assert not alive(int(gate.read_text())), "it has one slot"


def test_a_revoked_token_is_refused(machine: Any, stack: Stack) -> None:
    made = json.loads(stack.run("token", "create", "--pool", "remote", "--json"))
    assert made["token"]["id"] in stack.run("token", "list")
    stack.run("token", "revoke", made["token"]["id"])

    remote = machine(made["secret"])

    assert remote.process.wait(20) == 1
    assert "The pool token is not valid" in remote.log()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
