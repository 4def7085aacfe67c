"""What several processes do at once in a system is done once, in order, and comes to an end."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from runtime.outboxes import outbox_of
from runtime.store import tables
from runtime.systems.tables import letters
from tests.support.attempt import Attempt
from tests.support.newsroom import Newsroom, an, channel, end, send
from tests.support.web import Client
from web.core import Core

SEED, BALLS, PROCESSES = 17, 6, 3
NAMES = ("a", "b", "c", "d")


def work(room: Newsroom, seed: int) -> int:
    """Do what a pool process and a reaper do, until nothing is left to do; how many runs were executed."""
    chance, done, idle = random.Random(seed), 0, 0
    while idle < 3:
        queued = room.queued()
        chance.shuffle(queued)
        before = done
        for run_id in queued:
            try:
                attempt = Attempt(room.core, run_id)
            except AssertionError:  # another one has claimed it
                continue
            message = dict(attempt.run.message or {})
            to = chance.choice(NAMES)
            end(attempt, ("x", [send(to, f"{message['to']} to {to}")] if message["hops"] < 3 else []))
            done += 1
        with room.core.database.engine.connections.begin() as c:
            is_due = sa.and_(tables.outbox.c.kind != "system_expired", tables.outbox.c.due_at > tables.now())
            c.execute(
                tables.outbox.update().where(is_due, tables.outbox.c.tries == 0).values(due_at=tables.now())
            )
        handled = outbox_of(room.core).handle_due()
        idle = 0 if handled or done > before else idle + 1
    return done


@pytest.mark.databases
def test_processes_that_work_at_once_handle_each_message_once_and_in_order(ada: Client, core: Core) -> None:
    ring = [channel(one, NAMES[(place + 1) % 4], "query") for place, one in enumerate(NAMES)]
    entities = [an(name, mailbox={"size": 2}, concurrency=2 if name == "d" else 1) for name in NAMES]
    room = Newsroom(ada, core, *entities, channels=ring, limits={"hops": 5})
    first = [room.told(NAMES[number % 4], str(number)) for number in range(BALLS)]
    with ThreadPoolExecutor(PROCESSES) as processes:
        executed = sum(processes.map(lambda seed: work(room, SEED + seed), range(PROCESSES)))
    executed += len(room.play(lambda message: "", most=1000))

    rows = core.database.read(lambda c: c.execute(sa.select(letters)).all())
    assert Counter(row.status for row in rows).keys() <= {"done", "dead"}
    assert {row.reason for row in rows} <= {None, "hops", "late"}
    assert (
        executed
        == sum(row.status == "done" for row in rows)
        == len({row.run_id for row in rows if row.run_id})
    )
    for entity in room.now()["entities"]:
        numbers = sorted(row.number for row in rows if row.entity_id == entity["id"] and row.number)
        assert numbers == [*range(1, len(numbers) + 1)]
        if entity["concurrency"] == 1:
            plain = [row for row in rows if row.entity_id == entity["id"] and row.run_id and not row.error]
            taken = sorted(plain, key=lambda row: row.started_at)
            assert [row.number for row in taken] == sorted(row.number for row in plain)
    stopped = ada.post(f"{room.path}/stop").json["system"]
    assert stopped["status"] == "stopped"
    assert all(room.story(one)[0]["status"] == "done" for one in first)
