"""Secrets stay where they belong: not in logs, events, messages, errors, figures, or process lists.

The real stack with secrets that are known here, in which much goes wrong.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import redis
import sqlalchemy as sa

from runtime import settings as settings_module
from runtime.testing.client import Client
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from runtime.tokens import run_token


def known(name: str) -> str:
    """A secret that is found again."""
    return f"{name}-{secrets.token_hex(16)}"


SECRET_KEY = known("secret-key")
DATABASE_PASSWORD = known("database")
REDIS_PASSWORD = known("redis")
FLOWER_PASSWORD = known("flower")
API_KEY = known("api-key")
PASSWORD = known("password")
FAILURES = ("raise", "fail", "crash", "exit", "garbage", "exit0_mid_message")


class Monitor:
    """Every command that a Redis carries out: what is appended, published, queued, counted."""

    def __init__(self, url: str) -> None:
        self.commands: list[str] = []
        self._client = redis.Redis.from_url(url, socket_timeout=None)
        self._listening = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        assert self._listening.wait(10)

    def text(self) -> str:
        """All of it, also what Celery writes as base64."""
        plain = "\n".join(self.commands)
        encoded = re.findall(r"[A-Za-z0-9+/]{40,}={0,2}", plain)
        return "\n".join([plain, *(_decoded(text) for text in encoded)])

    def _listen(self) -> None:
        try:
            with self._client.monitor() as monitor:
                self._listening.set()
                for told in monitor.listen():
                    self.commands.append(told["command"])
        except redis.ConnectionError:
            pass  # it was killed, on purpose


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode(errors="replace")
    except ValueError:
        return ""


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), password=REDIS_PASSWORD)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def stack(
    tmp_path_factory: pytest.TempPathFactory, own_redis: RedisServer, empty_postgresql_url: str
) -> Iterator[Stack]:
    database = sa.make_url(empty_postgresql_url).set(password=DATABASE_PASSWORD)
    settings = {
        "BRANCHLINE_SECURITY_SECRET_KEY": SECRET_KEY,
        "BRANCHLINE_FLOWER_PASSWORD": FLOWER_PASSWORD,
        "FLOWER_PORT": str(free_port()),
        "FAKE_VARIABLE": API_KEY,
    }
    url = database.render_as_string(hide_password=False)
    with Stack(tmp_path_factory.mktemp("stack"), url, own_redis.url, from_python=True, **settings) as stack:
        stack.start("flower")
        yield stack


@pytest.fixture
def flower(stack: Stack) -> Iterator[httpx.Client]:
    """Flower, once it knows the pool: it learns nothing of what was before."""
    url = f"http://127.0.0.1:{stack.environ['FLOWER_PORT']}"
    with httpx.Client(base_url=url, auth=("admin", FLOWER_PASSWORD), timeout=10) as client:
        until(lambda: "active_queues" in _get(client, "/api/workers?refresh=1"), 60, "Flower knows the pool")
        yield client


@pytest.mark.timeout(240)
def test_secrets_stay_where_they_belong(stack: Stack, own_redis: RedisServer, flower: httpx.Client) -> None:
    monitor = Monitor(own_redis.url)
    with Client(stack.url) as client:
        shown = credentials(client)
        runs, told = go_wrong(client, stack)
        seen = {"Flower": shown_by(flower), "process list": process_list()}
        own_redis.kill()
        until(lambda: client.get("/readyz").status_code == 503, 60, "Redis is missed")
        told.append(client.get("/readyz").text)
        own_redis.start()
        until(lambda: client.get("/readyz").status_code == 200, 60, "Redis is back")
        told += [client.get(path).text for path in ("/metrics", "/healthz", "/api/openapi.json")]

    settings = settings_module.load(stack.environ)
    run_tokens = [run_token(settings, run["id"], run["attempt"]) for run in runs]
    seen |= {f"log of {name}": stack.log(name) for name in stack.processes}
    seen |= {"Redis": monitor.text(), "answers": "\n".join(told)}
    assert "run.completed" in seen["Redis"]
    assert '"type": "task-started"' in seen["Redis"]
    assert "fake, attempt 1" in seen["Flower"]
    assert "worker_crashed" in seen["answers"]
    ours = [SECRET_KEY, DATABASE_PASSWORD, REDIS_PASSWORD, FLOWER_PASSWORD, API_KEY, PASSWORD]
    for secret in [*ours, *shown, *run_tokens]:
        assert [where for where, text in seen.items() if secret in text] == [], secret


def credentials(client: Client) -> list[str]:
    """What signing up gives, which nobody else may see."""
    account = {"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD, "token": True}
    answer = client.post("/api/auth/register", json=account).raise_for_status()
    token = answer.json()["token"]
    secret = client.post("/api/tokens").json()["token"]["secret"]
    [cookie] = client.cookies.values()
    return [token, secret, cookie, jwt.decode(token, options={"verify_signature": False})["sid"]]


def go_wrong(client: Client, stack: Stack) -> tuple[list[dict[str, Any]], list[str]]:
    """The runs that failed, and all that was answered and streamed meanwhile."""
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("/api/auth/login", {"email": "nobody@example.com", "password": PASSWORD}),
        ("/api/auth/login", {"email": "no address", "password": PASSWORD}),
        ("/api/auth/login", {"email": "nobody@example.com", "password": [PASSWORD]}),
        ("/api/auth/login", {"email": "nobody@example.com", "password": PASSWORD * 50}),
        ("/api/auth/register", {"email": "nobody@example.com", "password": PASSWORD, "name": 1}),
        ("/api/auth/password", {"current_password": f"not {PASSWORD}", "new_password": PASSWORD[:5]}),
    ]
    told = [client.post(path, json=body).text for path, body in wrong]
    for bearer in (f"Bearer bl_{PASSWORD}", f"Bearer {PASSWORD}.a.b", f"Basic {PASSWORD}"):
        told.append(httpx.get(f"{stack.url}/api/me", headers={"Authorization": bearer}).text)
    runs = []
    for mode in FAILURES:
        asked = client.ask(client.thread(), "hello", worker_id="fake", config={"mode": mode})
        [run] = asked["runs"]
        told += [json.dumps(event.data) for event in client.follow(run)]
        ended = client.wait(run)
        runs.append(ended["run"])
        told += [json.dumps(ended), client.get(f"/api/runs/{run['id']}/log").text]
    with hanging(client):
        told.append(process_list())
    return runs, told


@contextmanager
def hanging(client: Client) -> Iterator[None]:
    """A child is alive."""
    [run] = client.ask(client.thread(), "hello", worker_id="fake", config={"mode": "hang"})["runs"]
    with client.stream(f"/api/runs/{run['id']}/events") as events:
        next(event for event in events if event.type == "message.delta")
        yield
    client.post(f"/api/runs/{run['id']}/cancel", json={"wait": 10}).raise_for_status()


def shown_by(flower: httpx.Client) -> str:
    """All that Flower says."""
    pages = ("/api/tasks", "/api/workers", "/workers", "/tasks", "/broker", "/metrics")
    until(lambda: "fake, attempt 1" in _get(flower, "/api/tasks"), 60, "Flower knows the runs")
    return "".join(_get(flower, page) for page in pages)


def _get(client: httpx.Client, path: str) -> str:
    try:
        return client.get(path).text
    except httpx.TransportError:
        return ""


def process_list() -> str:
    """The command lines of every process of this machine, which anybody may read."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(file.read_text(errors="replace"))
        except OSError:  # it has ended meanwhile
            continue
    return "\n".join(lines)
