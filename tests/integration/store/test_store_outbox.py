"""The outbox: tasks that are written with what they follow from, and carried out after it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
import sqlalchemy as sa

from runtime.dispatch.outbox import Later, Outbox
from runtime.errors import Conflict, StoreUnavailable, TooMany
from runtime.model import Json
from runtime.store import Connection, Database, outbox
from runtime.store.tables import now
from runtime.store.tables import outbox as table


def put(database: Database, *keys: str, kind: str = "greet", delay: float = 0.0) -> None:
    for key in keys:
        database.write(outbox.put, kind, key, {"name": key}, delay=delay)


def make_due(database: Database) -> None:
    """Let the time pass that all tasks are put off for."""
    database.write(lambda c: c.execute(table.update().values(due_at=now(-1))))


def stored(database: Database) -> list[str]:
    return sorted(database.read(lambda c: c.execute(table.select()).scalars(1).all()))


class Greeter:
    """What carries tasks out; raises the errors that it is given, one at each call."""

    def __init__(self, *errors: Exception) -> None:
        self.greeted: list[Json] = []
        self.errors = list(errors)

    def __call__(self, payload: Json) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.greeted.append(payload["name"])


def test_a_task_of_a_transaction_that_is_rolled_back_is_none(database: Database) -> None:
    def fail(c: Connection) -> None:
        outbox.put(c, "greet", "ada")
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError):
        database.write(fail)

    assert not database.read(outbox.is_due, ["greet"])


def test_a_process_is_told_of_its_own_tasks_behind_the_commit_and_has_a_head_start(
    database: Database,
) -> None:
    told: list[outbox.Own] = []
    database.carry_out(told.append)

    def fill(c: Connection, *, fails: bool = False) -> None:
        outbox.put(c, "greet", "ada", 1)
        outbox.put(c, "greet", "bob", 2, delay=60)
        assert told == []
        if fails:
            raise RuntimeError("no luck")

    with pytest.raises(RuntimeError):
        database.write(fill, fails=True)
    assert told == []
    database.write(fill)

    assert told == [("greet", "ada", 1)]
    assert stored(database) == ["ada", "bob"]
    assert not database.read(outbox.is_due, ["greet"])


def test_a_process_carries_out_its_own_tasks(database: Database) -> None:
    greeter = Greeter(StoreUnavailable())
    Outbox(database, {"greet": greeter}).take_own()
    put(database, "ada", "bob")
    with gevent.Timeout(30):
        while stored(database) != ["ada"]:  # the reaper tries it again
            gevent.sleep(0.01)

    assert greeter.greeted == ["bob"]
    assert database.read(outbox.dead) == []


def test_tasks_are_carried_out_once_and_are_gone(database: Database) -> None:
    greeter = Greeter()
    put(database, "ada", "bob", "ada")

    assert Outbox(database, {"greet": greeter}).handle_due() == 2

    assert greeter.greeted == ["ada", "bob"]
    assert stored(database) == []


def test_a_round_ends_when_its_time_is_over(database: Database) -> None:
    put(database, "ada")

    assert Outbox(database, {"greet": Greeter()}).handle_due(0) == 0
    assert stored(database) == ["ada"]  # the next round carries it out


def test_what_a_round_has_no_time_for_is_left_to_the_next_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ada", "bob", "cyd"):
        put(database, name)
    times = iter([0.0, 0.0, 9.0, 9.0, 9.0])  # the first one takes nine seconds
    monkeypatch.setattr("runtime.dispatch.outbox.time", SimpleNamespace(monotonic=lambda: next(times)))

    assert Outbox(database, {"greet": Greeter()}).handle_due(5) == 1
    assert len(stored(database)) == 2
    assert {task.tries for task in database.write(outbox.take, ["greet"])} == {1}  # the first try


def test_a_task_is_not_due_before_its_delay_is_over(database: Database) -> None:
    put(database, "ada", delay=60)

    assert database.write(outbox.take, ["greet"]) == []
    make_due(database)
    assert [task.key for task in database.write(outbox.take, ["greet"])] == ["ada"]


def test_a_kind_that_this_version_does_not_know_is_left_to_others(database: Database) -> None:
    put(database, "ada", kind="of the next version")

    assert Outbox(database, {"greet": Greeter()}).handle_due() == 0
    assert stored(database) == ["ada"]


def test_a_task_whose_process_dies_is_taken_by_another_one(database: Database) -> None:
    put(database, "ada")
    assert database.write(outbox.take, ["greet"])
    assert database.write(outbox.take, ["greet"]) == []

    make_due(database)
    greeter = Greeter()

    assert Outbox(database, {"greet": greeter}).handle_due() == 1
    assert greeter.greeted == ["ada"]


def test_two_processes_never_take_the_same_task(database: Database) -> None:
    put(database, *(f"{number:03}" for number in range(60)))
    begin = Barrier(4)

    def take_all() -> list[str]:
        begin.wait(10)
        taken: list[str] = []
        while tasks := database.write(outbox.take, ["greet"], 5):
            taken += [task.key for task in tasks]
        return taken

    with ThreadPoolExecutor(4) as processes:
        takers = [processes.submit(take_all) for _ in range(4)]
        taken = [key for taker in takers for key in taker.result(timeout=30)]

    assert sorted(taken) == [f"{number:03}" for number in range(60)]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_task_that_is_being_taken_is_skipped_and_not_waited_for(database: Database) -> None:
    put(database, "ada", "bob")
    taken, go_on = Event(), Event()

    def take_slowly(c: Connection) -> list[str]:
        keys = [task.key for task in outbox.take(c, ["greet"], 1)]
        taken.set()
        assert go_on.wait(10)
        return keys

    with ThreadPoolExecutor(1) as other:
        slow = other.submit(database.write, take_slowly)
        assert taken.wait(10)
        mine = [task.key for task in database.write(outbox.take, ["greet"])]
        go_on.set()

    assert (slow.result(timeout=10), mine) == (["ada"], ["bob"])


def test_a_task_that_fails_is_tried_again_later_and_keeps_no_other_waiting(database: Database) -> None:
    greeter = Greeter(Conflict("not today"))
    put(database, "ada", "bob")
    loop = Outbox(database, {"greet": greeter})

    assert loop.handle_due() == 1
    assert (greeter.greeted, stored(database)) == (["bob"], ["ada"])
    make_due(database)
    assert loop.handle_due() == 1
    assert (greeter.greeted, stored(database)) == (["bob", "ada"], [])


def test_a_task_that_always_fails_is_given_up_listed_and_replayed(database: Database) -> None:
    greeter = Greeter(*[Conflict("not today")] * 12)
    put(database, "ada")
    loop = Outbox(database, {"greet": greeter})

    for _ in range(20):
        assert loop.handle_due() == 0
        make_due(database)

    (dead,) = database.read(outbox.dead)
    assert (dead.key, dead.tries, dead.error) == ("ada", 12, "Conflict: not today")
    assert database.read(outbox.counts) == [outbox.Waiting("greet", due=0, dead=1)]
    assert database.write(outbox.replay, "nobody") == 0
    assert database.write(outbox.replay, "ada") == 1
    assert loop.handle_due() == 1
    assert greeter.greeted == ["ada"]


@pytest.mark.parametrize("error", [StoreUnavailable(), TooMany()])
def test_waiting_for_a_service_or_a_limit_is_no_try(database: Database, error: Exception) -> None:
    greeter = Greeter(*[error] * 30)
    put(database, "ada")
    loop = Outbox(database, {"greet": greeter})

    while greeter.errors:
        try:
            loop.handle_due()
        except StoreUnavailable:
            pass
        make_due(database)

    assert loop.handle_due() == 1
    assert database.read(outbox.dead) == []


def test_who_was_too_slow_does_not_end_the_task_of_who_came_after(database: Database) -> None:
    put(database, "ada")
    (slow,) = database.write(outbox.take, ["greet"])
    make_due(database)
    (second,) = database.write(outbox.take, ["greet"])

    database.write(outbox.failed, slow, "too slow", None)
    assert database.read(outbox.dead) == []
    database.write(outbox.done, slow)
    assert stored(database) == ["ada"]
    database.write(outbox.done, second)
    assert stored(database) == []


def test_a_task_waits_for_what_it_has_begun_and_is_woken_by_it(database: Database) -> None:
    outcomes: list[Later | None] = [Later(60, "Its run is under way."), Later(60, "Still."), None]
    put(database, "ada")
    loop = Outbox(database, {"greet": lambda _: outcomes.pop(0)})

    assert (loop.handle_due(), loop.handle_due(), len(outcomes)) == (0, 0, 2)
    database.write(outbox.wake, outbox.name_of("greet", "bob"))
    assert (loop.handle_due(), len(outcomes)) == (0, 2)
    for handled in (0, 1):
        database.write(outbox.wake, outbox.name_of("greet", "ada"))
        assert loop.handle_due() == handled
    assert stored(database) == []


def test_a_task_that_is_woken_before_it_waits_is_due(database: Database) -> None:
    def begin(_: Json) -> Later | None:
        if woken:
            return None
        woken.append(True)
        database.write(outbox.wake, outbox.name_of("greet", "ada"))
        return Later(60, "Its run is under way.")

    woken: list[bool] = []
    put(database, "ada")

    assert Outbox(database, {"greet": begin}).handle_due() == 1
    assert stored(database) == []


def test_a_task_that_waits_says_for_what_and_that_is_no_try(database: Database) -> None:
    put(database, "ada")
    loop = Outbox(database, {"greet": lambda _: Later(5, "Its worker is not there.")})
    for _ in range(20):
        assert loop.handle_due() == 0
        make_due(database)
    (task,) = database.write(outbox.take, ["greet"])
    assert (task.tries, task.error) == (1, "Its worker is not there.")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_tasks_that_wait_for_later_cost_those_nothing_that_look_for_due_ones(database: Database) -> None:
    statements: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        statements.append((statement, parameters))

    def plans(c: Connection) -> str:
        return "\n".join(
            line
            for statement, parameters in statements
            for line in c.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars()
        )

    def fill(c: Connection) -> None:
        later = {"kind": "greet", "payload": None, "due_at": now(86_400), "tries": 0, "created_at": now()}
        rows = [{"name": f"later {number}"} for number in range(5_000)]
        c.execute(table.insert().values(later | {"key": sa.bindparam("name")}), rows)
        c.exec_driver_sql("ANALYZE outbox")

    database.write(fill)
    sa.event.listen(database.engine.connections, "before_cursor_execute", note)
    assert not database.read(outbox.is_due, ["greet"])
    assert database.write(outbox.take, ["greet"]) == []
    database.change(outbox.forget, [("greet", "ada"), ("greet", "bob")])
    sa.event.remove(database.engine.connections, "before_cursor_execute", note)
    statements = [one for one in statements if "outbox" in one[0]]

    assert len(statements) == 3
    shown = database.read(plans)
    assert "Seq Scan" not in shown
    assert shown.count("Index Cond: (due_at <= ") == 2, shown
