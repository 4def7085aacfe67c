"""Two installations on one broker and one Redis: neither takes, hears, shows or needs what is the other's.

The second is below a path of its host.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
import redis

from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.coded import coded, write_worker
from tests.support.redis_rights import set_documented_rights
from tests.support.watcher import Watcher, flower_settings

pytestmark = pytest.mark.parametrize(
    "broker_url",
    ["redis", pytest.param("rabbitmq", marks=[pytest.mark.rabbitmq, pytest.mark.slow])],
    indirect=True,
)

NAMES = ("", "north")
PATHS = {"": "", "north": "/chat/north"}


@pytest.fixture(scope="module")
def administrator(stack_redis: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(stack_redis.url) as client:
        yield client


@pytest.fixture(scope="module")
def stacks(
    tmp_path_factory: pytest.TempPathFactory,
    stack_redis: RedisServer,
    administrator: redis.Redis,
    broker_url: str,
) -> Iterator[list[Stack]]:
    """Each is a user of its own of Redis, with the documented rights."""
    with ExitStack() as undo:
        made = []
        for name in NAMES:
            home = tmp_path_factory.mktemp("stack")
            workers = write_worker(home)
            manifest = home / "workers" / "coded" / "worker.toml"
            manifest.write_text(f'pool = "python"\n{manifest.read_text()}')
            user = set_documented_rights(administrator, installation=name)
            url = stack_redis.url.replace("redis://", f"redis://{user}@")
            environ = {
                "BROKER_URL": url if broker_url == stack_redis.url else broker_url,
                "BRANCHLINE_INSTALLATION": name,
                "BASE_PATH": PATHS[name],
                "WORKERS_PATH": workers,
                **flower_settings(),
            }
            stack = undo.enter_context(Stack(home, f"sqlite:///{home}/branchline.db", url, **environ))
            stack.start("flower")
            made.append(stack)
        yield made


@pytest.fixture(autouse=True)
def nothing_is_refused(stacks: list[Stack], administrator: redis.Redis) -> Iterator[None]:
    """Neither lacks a right."""
    administrator.execute_command("ACL", "LOG", "RESET")
    yield
    assert administrator.execute_command("ACL", "LOG") == []


def test_each_executes_its_own_runs(stacks: list[Stack], administrator: redis.Redis) -> None:
    clients = [stack.client() for stack in stacks]
    runs = [client.ask(client.thread(), "one two", n=4)["runs"] for client in clients]
    for client, asked in zip(clients, runs, strict=True):
        found = [client.wait(run)["run"] for run in asked]
        # A message that the other had been given would have been published again, seconds later.
        assert [(run["status"], run["attempt"]) for run in found] == [("success", 1)] * 4
    for stack in stacks:
        checked = json.loads(stack.run("doctor", "--json", code=1))  # other pools do not run
        assert [one["ok"] for one in checked if one["about"] in ("redis", "broker", "web")] == [True] * 3
        assert "no message of ours" not in stack.log("pool python")

    logs = [key.decode() for key in administrator.scan_iter("*:log")]
    for stack, name in zip(stacks, ("branchline", "north.branchline"), strict=True):
        assert any(key.startswith(f"{name}:") for key in logs), (stack.folder, logs)
    for client in clients:
        client.close()


def test_workers_and_the_command_line_reach_the_api_of_their_own(stacks: list[Stack]) -> None:
    for stack, name in zip(stacks, NAMES, strict=True):
        with closing(stack.client()) as client:
            run = coded(client, "post({'type': 'delta', 'text': os.environ['BRANCHLINE_API_URL']})")
            ended = client.wait(run)
            assert ended["run"]["status"] == "success", ended
            assert [message["content"] for message in ended["messages"]] == [stack.url]
            assert [event.type for event in client.follow(run)][-1] == "run.completed"
            paths = {cookie.path for cookie in client.cookies.jar}
            assert paths == {PATHS[name] or "/"}
            token = client.post("/api/tokens", json={"name": "chat"}).json()["token"]["secret"]
        assert "hello again" in stack.run("chat", "echo", "--token", token, "-m", "hello again")


def test_flower_shows_the_pools_queues_and_tasks_of_its_own_installation(stacks: list[Stack]) -> None:
    with ExitStack() as undo:
        flowers = [undo.enter_context(Watcher(stack.environ)) for stack in stacks]
        clients = [undo.enter_context(closing(stack.client())) for stack in stacks]
        for flower in flowers:
            until(flower.workers, READY_WITHIN, "Flower knows the pool")
            until(lambda flower=flower: "python@" in flower.get("/workers").text, 40, "it has its events")
        runs = [client.ask(client.thread(), "one", n=2)["runs"] for client in clients]
        shown = [{f"run {run['id']}" for run in asked} for asked in runs]
        for flower, own in zip(flowers, shown, strict=True):
            until(lambda flower=flower, own=own: own <= asked_of(flower), what="Flower shows its runs")

        assert [len(flower.workers()) for flower in flowers] == [1, 1]
        assert not flowers[0].workers().keys() & flowers[1].workers().keys()
        assert not asked_of(flowers[0]) & shown[1]
        assert not asked_of(flowers[1]) & shown[0]
        queues = [flower.get("/api/queues/length").json()["active_queues"] for flower in flowers]
        names = [[queue["name"] for queue in found] for found in queues]
        assert names == [["runs.python"], ["north.runs.python"]]


def asked_of(flower: Watcher) -> set[str]:
    """The runs of the tasks that it shows."""
    return {task["args"] for task in flower.tasks()}
