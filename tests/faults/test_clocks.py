"""Clocks that do not agree: a web process and a pool ahead of the database's clock, and others behind it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from functools import partial
from itertools import cycle

import httpx
import pytest

from runtime.testing.client import PASSWORD, Client
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.clocks import wrong_by
from tests.support.metrics import figure

pytestmark = pytest.mark.slow

QUICK = {"BRANCHLINE_POOL_LEASE": "4", "BRANCHLINE_POOL_RENEW": "0.5"}


@pytest.fixture(scope="module", params=[(50, -5), pytest.param((5, -50), marks=pytest.mark.soak)])
def skews(request: pytest.FixtureRequest) -> tuple[int, int]:
    """By how many seconds one machine's clock is ahead, and that of another behind."""
    skews: tuple[int, int] = request.param
    return skews


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    stack_redis: RedisServer,
    stack_postgresql_url: str,
    skews: tuple[int, int],
) -> Iterator[Stack]:
    """Three machines: the first one's clock is that of the database."""
    home = tmp_path_factory.mktemp("stack")
    apart = {"pool python": wrong_by(skews[0])}
    with Stack(home, stack_postgresql_url, stack_redis.url, apart=apart, **QUICK) as stack:
        yield stack


@pytest.fixture(scope="module")
def addresses(stack: Stack, skews: tuple[int, int]) -> list[str]:
    """The web processes of the three machines."""
    urls = [stack.url]
    for skew in skews:
        port = free_port()
        stack.start("web", key=f"web {skew}", PORT=str(port), **wrong_by(skew))
        urls.append(f"http://127.0.0.1:{port}")
    for url in urls:
        until(partial(is_ready, url), READY_WITHIN, f"{url} is ready")
    stack.start("pool python", key="pool behind", **wrong_by(skews[1]))
    return urls


@pytest.fixture
def clients(addresses: list[str], client: Client) -> Iterator[list[Client]]:
    """One user's client for each web process, with the cookie that the first has signed."""
    clients = [client, *(Client(url) for url in addresses[1:])]
    for other in clients[1:]:
        other.cookies.update(client.cookies)
    yield clients
    for other in clients[1:]:
        other.close()


def test_each_web_process_accepts_the_cookies_and_tokens_of_the_others(addresses):
    for signing in addresses:
        with closing(Client(signing)) as client:
            client.register()
            email = client.get("/api/me").json()["user"]["email"]
            account = {"email": email, "password": PASSWORD, "token": True}
            token = client.post("/api/auth/login", json=account).json()["token"]
            for address in addresses:
                with closing(Client(address)) as other:
                    other.cookies.update(client.cookies)
                    assert other.get("/api/me").status_code == 200, (signing, address)
                with closing(Client(address)) as program:
                    answer = program.get("/api/me", headers={"Authorization": f"Bearer {token}"})
                    assert answer.status_code == 200, (signing, address)


def test_lists_have_the_order_in_which_things_were_made(clients):
    thread = clients[0].thread()
    made = [client.ask(thread, "Hello") for client, _ in zip(cycle(clients), range(9), strict=False)]
    runs = [answer["runs"][0]["id"] for answer in made]
    states = [answer["runs"][0]["input_state_id"] for answer in made]

    for client in clients:
        assert [run["id"] for run in listed(client, "/api/runs", limit=2)] == runs[::-1]
        in_tree = [state["id"] for state in listed(client, f"/api/threads/{thread['id']}/states", limit=2)]
        assert [state for state in in_tree if state in states] == states


def test_a_run_that_outlasts_its_lease_keeps_it_whatever_its_pool_takes_for_the_time(clients):
    thread = clients[0].thread()
    slow = {"config": {"delay_ms": 800}}
    asked = [client.ask(thread, "one two three four five six seven", **slow) for client in clients * 2]
    for answer in asked:
        run = clients[0].wait(answer["runs"][0])["run"]
        assert (run["status"], run["attempt"]) == ("success", 1)


def test_figures_and_times_for_display_are_those_of_the_database(
    stack, addresses, clients, skews, monkeypatch
):
    def slow(address: str) -> float:
        """The deltas that took more than two seconds to their reader, by that process."""
        with httpx.Client(base_url=address, timeout=10) as client:
            all_of_them, quick = (
                figure(client, "delta_latency_seconds_bucket", le=bound) for bound in ("+Inf", "2.0")
            )
        return all_of_them - quick

    def spread() -> float:
        """Seconds between what the web processes take for the time now."""
        thread = clients[0].thread()
        body = {"parent_id": thread["root_state_id"], "messages": [{"role": "user", "content": "now"}]}
        states = [client.post(f"/api/threads/{thread['id']}/states", json=body).json() for client in clients]
        times = [parsed(made["state"]["messages"][0]["created_at"]) for made in states]
        return (max(times) - min(times)).total_seconds()

    until(lambda: spread() < 3, what="each has compared its clock with the database's")
    before = [slow(address) for address in addresses]
    for client in clients * 2:  # each pool gets some
        began, thread = time.monotonic(), client.thread()
        run = client.ask(thread, "one two three", config={"delay_ms": 50})["runs"][0]
        client.follow(run)
        question, answer = client.get(f"/api/states/{run['output_state_id']}/messages").json()["items"]
        lasted = parsed(answer["created_at"]) - parsed(question["created_at"])
        assert abs(lasted.total_seconds()) < 3

    assert [slow(address) for address in addresses] == before
    monkeypatch.setitem(stack.environ, "COLUMNS", "200")
    for skew in skews:
        for name, value in wrong_by(skew).items():
            monkeypatch.setitem(stack.environ, name, value)
        shown = re.search(rf"{run['id']} .* (\d+) s ago", stack.run("runs", "list", "--limit", "1"))
        assert shown
        assert int(shown[1]) <= time.monotonic() - began + 1


def test_doctor_shows_the_clock_of_each_process(stack, addresses, skews, monkeypatch):
    monkeypatch.setitem(stack.environ, "BRANCHLINE_API_URL", addresses[1])
    monkeypatch.setitem(stack.environ, "API_URL", addresses[1])

    def clocks() -> dict | None:
        """What it shows, once both pools have reported themselves."""
        found = json.loads(stack.run("doctor", "--json", code=1))
        shown = next(one for one in found if one["about"] == "clocks")
        return shown if shown["found"].count("pool process") == 2 else None

    shown = until(clocks, what="both pools have reported themselves")
    assert "NTP" in shown["remedy"]
    skew = re.compile(r"(this process|web|pool process) ?\S* ([+-][\d.]+) s")
    measured = sorted(round(float(found[2])) for found in skew.finditer(shown["found"]))
    wanted = sorted([0, skews[0], skews[0], skews[1]])
    assert all(abs(one - another) <= 1 for one, another in zip(measured, wanted, strict=True)), shown


def is_ready(url: str) -> bool:
    """Whether the web process there answers requests."""
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def parsed(time: str) -> datetime:
    """A time of the API."""
    return datetime.fromisoformat(time)


def listed(client: Client, path: str, **query: int) -> list[dict]:
    """All items of a list, page by page."""
    items, cursor = [], {}
    while True:
        page = client.get(path, params={**query, **cursor}).json()
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = {"cursor": page["next"]}
