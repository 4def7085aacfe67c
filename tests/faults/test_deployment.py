"""The deployment of docs/how-to, word for word: a new version is installed under load, and nothing is lost.

PostgreSQL behind PgBouncer, Redis with the documented rights, nginx with TLS; in one case with
Redis as the broker at the root of a host, in the other with RabbitMQ and below a path.
"""

from __future__ import annotations

import random
import re
import secrets
import shutil
import signal
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
import redis
import sqlalchemy as sa

from runtime.settings import CHECKOUT
from runtime.testing.client import PASSWORD, Client
from runtime.testing.ports import free_port
from runtime.testing.postgresql_server import temporary_database
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.certificates import certificate_for
from tests.support.metrics import samples
from tests.support.nginx import PAGE, configuration, nginx
from tests.support.pgbouncer import pgbouncer
from tests.support.reader import Reader
from tests.support.redis_rights import set_documented_rights

USERS = 6
SLOTS = 20
WEBS = ("web", "web 2")
POOLS = ("pool python", "pool python 2", "pool python 3")
OTHER_POOLS = ("pool exec", "pool node")
"""Of workers that are shipped; without them doctor finds that they are missing."""
WORDS = [f"word{number}" for number in range(100)]
DELAY = 40
"""Milliseconds between two words: the longest answer takes longer than a pool that is stopped waits for."""
WITHIN = 60.0
"""Seconds that any step may take."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Deployment:
    """One installation, and how users reach it."""

    stack: Stack
    url: str
    authority: ssl.SSLContext
    ports: dict[str, int]
    """Of the web processes, and of Flower."""

    def user(self) -> Client:
        """Somebody with a new account."""
        client = Client(self.url, verify=self.authority)
        client.register()
        return client

    def start(self, key: str, **more: str) -> None:
        """Start a process, and wait as the page on upgrades says."""
        port = {"PORT": str(self.ports[key])} if key in self.ports else {}
        name = key.rstrip(" 23")
        self.stack.start(name, key, **port, **more)
        if key in WEBS:
            until(lambda: self._is_ready(key), WITHIN, f"/readyz of {key} answers 200")

    def replace(self, key: str, **more: str) -> None:
        """SIGTERM, wait for its end, start the new one."""
        self.stack.kill(key, signal.SIGTERM)
        assert self.stack.processes[key].returncode == 0, self.stack.log(key)
        self.start(key, **more)

    def pools_count(self, processes: int) -> None:
        """Wait until ``branchline_pool_slots`` counts so many processes."""
        of_pool = ("branchline_pool_slots", (("pool", "python"),))
        with httpx.Client(base_url=f"http://127.0.0.1:{self.ports['web']}") as client:
            slots = processes * SLOTS
            until(lambda: samples(client).get(of_pool) == slots, WITHIN, "branchline_pool_slots counts it")

    def _is_ready(self, key: str) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.ports[key]}/readyz").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module", params=["at the root, by Redis", "below a path, by RabbitMQ"])
def deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgresql_server: str
) -> Iterator[Deployment]:
    """Two web processes, three of a pool and a reaper, and all that they need."""
    below = "/branchline" if "below" in request.param else ""
    broker = {"BROKER_URL": request.getfixturevalue("rabbitmq").url} if below else {}
    home, port = tmp_path_factory.mktemp("stack"), free_port()
    ports = {key: free_port() for key in (*WEBS, "flower")}
    url, certificate = f"https://localhost:{port}{below}", certificate_for("localhost", home)
    with ExitStack() as undo:
        enter = undo.enter_context
        webs = ports["web"], ports["web 2"]
        server = configuration(port, webs, certificate, ports["flower"] if below else 0)
        enter(nginx(home, server))
        database_url = enter(pgbouncer(enter(database_with_role(postgresql_server)), default_pool_size="20"))
        redis_url = enter(redis_with_rights(home))
        trusted = {"SSL_CERT_FILE": str(certificate)}
        environ = {**settings(url, below), **broker, **trusted}
        stack = Stack(home, database_url, redis_url, from_python=True, **environ)
        undo.push(stack)
        made = Deployment(stack, url, ssl.create_default_context(cafile=certificate), ports)
        stack.run("migrate")
        for key in (*WEBS, *POOLS, *OTHER_POOLS, "reaper"):
            made.start(key)
        made.pools_count(len(POOLS))
        stack.run("doctor")
        yield made


def settings(url: str, below: str) -> dict[str, str]:
    """The usual settings of the page, for several machines and behind a proxy."""
    return {
        "API_URL": url,
        "BASE_PATH": below,
        "BRANCHLINE_SECURITY_SECRET_KEY": secrets.token_urlsafe(36),
        "BRANCHLINE_SECURITY_COOKIE_SECURE": "true",
        "BRANCHLINE_WEB_HOSTS": "localhost",
        "BRANCHLINE_WEB_TRUSTED_PROXIES": "1",
        "BRANCHLINE_POOL_DRAIN": "1",
        "BRANCHLINE_POOL_SLOTS": str(SLOTS),
        "WORKERS_PATH": "",
    }


@contextmanager
def database_with_role(server: str) -> Iterator[str]:
    """A database, and a role as whom its sessions begin as the page says."""
    role = f"branchline_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as administrator:
        administrator.execute(f"CREATE ROLE {role} LOGIN")
        try:
            with temporary_database(server) as url:
                name = sa.make_url(url).database
                administrator.execute(f"ALTER DATABASE {name} OWNER TO {role}")
                [documented] = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
                of_ours = documented.replace("ROLE branchline", f"ROLE {role}")
                administrator.execute(of_ours.replace("DATABASE branchline", f"DATABASE {name}"))
                yield sa.make_url(url).set(username=role).render_as_string(hide_password=False)
        finally:
            administrator.execute(f"DROP ROLE {role}")


@contextmanager
def redis_with_rights(folder: Path) -> Iterator[str]:
    """A Redis, and a user of it who has the documented rights."""
    with RedisServer(folder, password=PASSWORD) as server, redis.Redis.from_url(server.url) as administrator:
        user = set_documented_rights(administrator)
        yield f"redis://{user}@127.0.0.1:{server.port}/0"
        assert administrator.execute_command("ACL", "LOG") == []


class User:
    """Makes threads, asks what is offered and reads the answers, until stopped."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.requests = 0
        self.told_to_repeat = 0
        """Requests for a worker that the web process of the version before does not have."""
        self.lost: list[str] = []
        """Requests that were not answered as they should be, and texts that were not what was stored."""
        self.runs: dict[str, tuple[str, str]] = {}
        """Id → worker, and the text that it is to answer."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more; returns when the last answer has come."""
        self._stopped.set()
        self._thread.join(2 * WITHIN)
        assert not self._thread.is_alive()

    def _work(self) -> None:
        while not self._stopped.is_set():
            offered = self._request(200, "GET", "/api/workers")
            thread = self._request(201, "POST", "/api/threads", json={})
            if offered is None or thread is None:
                continue
            workers = [one["id"] for one in offered["items"] if one["id"] in ("echo", "newcomer")]
            self._ask(thread["thread"], random.choice(workers))

    def _ask(self, thread: dict, worker: str) -> None:
        text = " ".join(WORDS[: random.choice([5, 20, 100])])
        body = {
            "worker_id": worker,
            "input_state_id": thread["root_state_id"],
            "messages": [{"role": "user", "content": text}],
            "config": {"delay_ms": DELAY},
        }
        key = {"Idempotency-Key": str(uuid.uuid4())}
        asked = self._request(202, "POST", f"/api/threads/{thread['id']}/runs", json=body, headers=key)
        if asked is None:
            return
        [run] = asked["runs"]
        self.runs[run["id"]] = worker, text
        random.choice([self._wait, self._read])(run, text)

    def _wait(self, run: dict, text: str) -> None:
        while run["status"] in ("queued", "running"):
            waited = self._request(200, "GET", f"/api/runs/{run['id']}/wait", params={"timeout": 20})
            run = waited["run"] if waited else run

    def _read(self, run: dict, text: str) -> None:
        """Streams are ended by a web process that stops; the reader goes on at the other one."""
        reader = Reader(self.client, run)
        reader.wait(WITHIN)
        if list(reader.text.messages.values()) != [text]:
            self.lost.append(f"{run['id']}: {reader.text.messages}")

    def _request(self, status: int, method: str, path: str, **more: object) -> dict | None:
        self.requests += 1
        try:
            answer = self.client.request(method, path, **more)
        except httpx.TransportError as error:
            self.lost.append(f"{method} {path}: {error!r}")
            return None
        if answer.status_code == 503 and answer.json()["type"].endswith(":worker-elsewhere"):
            self.told_to_repeat += 1
            self._stopped.wait(float(answer.headers["Retry-After"]))
            return self._request(status, method, path, **more)
        if answer.status_code != status:
            self.lost.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
            return None
        return answer.json()


def test_a_new_version_is_installed_under_load_and_nothing_is_lost(
    deployment: Deployment, tmp_path: Path
) -> None:
    began = time.monotonic()
    users = [User(deployment.user()) for _ in range(USERS)]
    until(lambda: all(user.runs for user in users), WITHIN, "all have asked")

    install_new_version(deployment, WORKERS_PATH=str(with_newcomer(tmp_path)))
    asked = {user: len(user.runs) for user in users}
    until(lambda: all(len(user.runs) > asked[user] + 2 for user in users), WITHIN, "all go on")
    for user in users:
        user.stop()

    assert [line for user in users for line in user.lost] == [], sum(user.requests for user in users)
    assert "newcomer" in {worker for user in users for worker, _ in user.runs.values()}
    handed_over = sum(check(user) for user in users)
    repeated, runs = (sum(user.told_to_repeat for user in users), sum(len(user.runs) for user in users))
    print(
        f"{sum(user.requests for user in users)} requests, {repeated} of them told to repeat; "
        f"{runs} runs, {handed_over} of them handed over; {time.monotonic() - began:.0f} s"
    )


def install_new_version(deployment: Deployment, **new: str) -> None:
    """In the order of the page on upgrades."""
    deployment.stack.run("migrate")
    for key in POOLS:
        deployment.replace(key, **new)
        deployment.pools_count(len(POOLS))
    for key in WEBS:
        deployment.replace(key, **new)
    deployment.replace("reaper", **new)


def check(user: User) -> int:
    """Each run of theirs has succeeded with its text; how many began again elsewhere."""
    handed_over = 0
    with closing(user.client) as client:
        for run_id, (_, text) in user.runs.items():
            ended = client.wait({"id": run_id})
            assert (ended["run"]["status"], ended["run"]["failures"]) == ("success", 0), ended["run"]
            assert [message["content"] for message in ended["messages"]] == [text]
            handed_over += ended["run"]["attempt"] > 1
    return handed_over


@pytest.mark.parametrize("deployment", ["below a path, by RabbitMQ"], indirect=True)
def test_the_pages_and_flower_are_served_below_the_path(deployment: Deployment) -> None:
    site = deployment.url.removesuffix("/branchline")
    environ = {"FLOWER_PORT": str(deployment.ports["flower"]), "BRANCHLINE_FLOWER_PASSWORD": PASSWORD}
    deployment.stack.start("flower", **environ)
    with closing(deployment.user()) as client:
        assert [cookie.path for cookie in client.cookies.jar] == ["/branchline"]
    with httpx.Client(base_url=site, verify=deployment.authority, auth=("admin", PASSWORD)) as client:
        redirect = client.get("/branchline")
        assert (redirect.status_code, redirect.headers["Location"]) == (301, f"{site}/branchline/")
        assert "/branchline/" in client.get("/branchline/").text
        assert client.get("/").headers["Content-Type"] == "text/html"  # nginx's own
        below = "/branchline/flower/workers"
        until(lambda: client.get(below).status_code == 200, WITHIN, "nginx serves Flower")
        assert client.get(below, auth=None).status_code == 401
    deployment.stack.kill("flower", signal.SIGTERM)


def with_newcomer(folder: Path) -> Path:
    """A folder with a worker that the version before does not have."""
    made = folder / "more"
    shutil.copytree(CHECKOUT / "workers" / "echo", made / "newcomer")
    manifest = made / "newcomer" / "worker.toml"
    manifest.write_text(re.sub(r'^id = ".*"$', 'id = "newcomer"', manifest.read_text(), flags=re.MULTILINE))
    return made
