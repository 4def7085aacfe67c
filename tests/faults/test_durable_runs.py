"""Random workers whose attempts are lost at random: what is stored is as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.more_workers import with_workers

PROGRAMS = 12
KINDS = (
    "delta", "delta", "message", "stream", "once", "once", "once", "confirm", "state", "usage", "call", "ask",
    "inbox", "inbox", "gone",
)  # fmt: skip
ASKS = ("confirm", "ask", "gone")
KILLS = 2
"""How often the pool process is killed, at random."""


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    # A lost attempt does not wait for the next one.
    settings = {"BRANCHLINE_RUN_RETRY_BACKOFF": "0", "WORKERS_PATH": with_workers(home, "program")}
    with Stack(home, stack_database_url, stack_redis.url, **settings) as stack:
        yield stack


class Program:
    """A random worker, and where its attempts are lost."""

    def __init__(self, rng: random.Random) -> None:
        self.steps = [(rng.choice(KINDS), f"s{number}") for number in range(rng.randint(1, 9))]
        self.inbox = [f"m{number}" for number in range(rng.randint(0, len(self.of("inbox"))))]
        """What its user sends before it begins; all of it is read."""
        attempts = 1 + sum(kind in ASKS for kind, _ in self.steps) + rng.randint(0, 3)
        self.losses = [
            (attempt, rng.randint(0, len(self.steps)), rng.choice(("fail", "fail", "host")))
            for attempt in range(1, attempts + 1)
        ]
        if sum(how == "host" for *_, how in self.losses) > 1:  # each disturbs all others as well
            self.losses = [(attempt, number, "fail") for attempt, number, _ in self.losses]

    def of(self, *kinds: str) -> list[str]:
        return [text for kind, text in self.steps if kind in kinds]

    def messages(self) -> list[tuple[str, str]]:
        """What an undisturbed run stores: the type of each message, and its text."""
        stored: list[tuple[str, str]] = []
        joins = False
        inbox = list(self.inbox)
        for kind, text in self.steps:
            found = inbox.pop(0) if kind == "inbox" and inbox else None
            if found is not None:
                stored.append(("text", found))
                joins = False
            if kind in ASKS:
                stored.append(("confirmation", text))
            said = {
                "delta": text,
                "once": f"paid {text} ",
                "confirm": f"answer to {text}",
                "ask": f"answer to {text}",
                "gone": f"{text} cancelled ",
                "call": f"below paid {text} ",
                "inbox": f"{text} found {found or 'nothing'} ",
            }.get(kind)
            if kind in ("message", "stream"):
                stored.append(("text", text) if kind == "message" else ("code", text * 2))
            elif said is not None:
                if joins and kind not in ASKS:
                    stored[-1] = ("text", stored[-1][1] + said)
                else:
                    stored.append(("text", said))
            joins = (joins and said is None and kind not in ("message", "stream")) or said is not None
        return stored


@pytest.mark.slow
def test_lost_attempts_leave_no_trace_in_what_is_stored(stack: Stack, client: Client, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    ledger = tmp_path / "ledger"
    ledger.touch()
    begin = tmp_path / "begin"
    under_way: dict[str, Program] = {}
    for program in (Program(rng) for _ in range(PROGRAMS)):
        args = {"losses": program.losses, "ledger": str(ledger), "begin": str(begin)}
        asked = client.ask(
            client.thread(), "Go", worker_id="program", config={"steps": program.steps}, args=args
        )
        run_id = asked["runs"][0]["id"]
        if program.inbox:
            sent = {"messages": [{"role": "user", "content": text} for text in program.inbox]}
            assert client.post(f"/api/runs/{run_id}/messages", json=sent).status_code == 202
        under_way[run_id] = program
    begin.touch()

    ended: dict[str, dict[str, Any]] = {}
    for kill_after in sorted(rng.sample(range(PROGRAMS - 2), KILLS)):
        until(
            lambda n=kill_after: _answer_all(client, under_way, ended) or len(ended) >= n,
            90, "some runs have ended",
        )  # fmt: skip
        os.kill(stack.pool_process(), signal.SIGKILL)
    until(lambda: _answer_all(client, under_way, ended), 90, "all runs have ended")

    paid = ledger.read_text().split("\n")
    for run_id, program in under_way.items():
        result = client.wait({"id": run_id})
        about = (seed, program.steps, program.losses)
        assert result["run"]["status"] == "success", (result["run"]["error"], about)
        assert [(m["type"], m["content"]) for m in result["messages"]] == program.messages(), about
        usage = result["run"]["usage"] or {}
        assert usage.get("paid", 0) == len(program.of("once")), about
        state = client.get(f"/api/states/{result['run']['output_state_id']}").json()["state"]
        kept = program.of("state")
        assert state["data"] == ({"kept": kept} if kept else None), about
        for text in program.of("once"):
            calls = paid.count(f"{run_id} {text}")
            # The pool, or its host by a neighbour, may be killed between the call and its commit.
            assert 1 <= calls <= 2 + KILLS, about


def _answer_all(client: Client, runs: dict[str, Program], ended: dict[str, dict[str, Any]]) -> bool:
    for run_id in runs.keys() - ended.keys():
        run = client.run({"id": run_id})
        if run["finished_at"]:
            ended[run_id] = run
        elif run["status"] == "waiting":
            question = run["confirmation"]
            if question["prompt"] in runs[run_id].of("gone"):
                client.post(f"/api/runs/{question['run_id']}/cancel", json={}).raise_for_status()
                continue
            answer = {"confirmation_id": question["id"], "answer": f"answer to {question['prompt']}"}
            assert client.post(f"/api/runs/{run_id}/answer", json=answer).status_code in (202, 409)
    return len(ended) == len(runs)
