"""A flood of probes costs the broker nothing, and what they are told is true within seconds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import redis
from flask import Flask

from runtime.errors import BrokerUnavailable
from runtime.testing.waiting import until
from tests.support.web import Client
from web.ops.recent import Recent


def test_many_probes_make_one_connection_to_the_broker(nobody: Client, redis_url: str) -> None:
    def connections() -> int:
        return int(info.info("stats")["total_connections_received"])

    assert nobody.get("/readyz").status_code == 200
    with redis.Redis.from_url(redis_url) as info:
        before = connections()
        for _ in range(50):
            assert nobody.get("/readyz").status_code == 200
        assert connections() - before <= 3


def test_many_probes_try_once_which_rights_are_missing(
    web_environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue("own_redis")
    with redis.Redis.from_url(server.url) as administrator:
        administrator.execute_command("ACL", "SETUSER", "web", "on", ">secret", "~*", "&*", "+@all", "-xadd")
        web_environ["REDIS_URL"] = server.url.replace("redis://", "redis://web:secret@")
        probe = request.getfixturevalue("app").test_client()

        assert all(missing(probe) == {"redis"} for _ in range(30))
        assert administrator.info("commandstats")["cmdstat_hsetnx"]["calls"] <= 3


def test_a_broker_that_goes_away_and_comes_back_is_noticed_within_seconds(
    web_environ: dict[str, str], request: pytest.FixtureRequest
) -> None:
    broker = request.getfixturevalue("own_redis")
    web_environ["BROKER_URL"] = broker.url
    app: Flask = request.getfixturevalue("app")
    probe = app.test_client()
    assert "broker" not in missing(probe)

    broker.kill()
    until(lambda: "broker" in missing(probe), what="its absence is noticed")
    broker.start()
    until(lambda: "broker" not in missing(probe), what="its return is noticed")


def missing(probe: Client) -> set[str]:
    return {one["what"] for one in probe.get("/readyz").json["missing"]}


@pytest.mark.parametrize("error", [None, BrokerUnavailable()])
def test_those_who_ask_at_once_share_one_answer(error: Exception | None) -> None:
    asked, together = [], Barrier(8)

    def find() -> str:
        asked.append(1)
        if error is not None:
            raise error
        return "found"

    def ask(_: int) -> str:
        together.wait(20)
        try:
            return recent.get()
        except BrokerUnavailable:
            return "away"

    recent = Recent(find, 60)
    with ThreadPoolExecutor(8) as threads:
        answers = set(threads.map(ask, range(8)))

    assert (answers, len(asked)) == ({"away" if error else "found"}, 1)
