"""What a turn and a window of history cost in small and in large trees.

Run from the checkout: ``python -m bench.tree [DATABASE_URL …]`` (an empty
database each; without any, a SQLite file in a temporary folder). Prints median
and 95th percentile in milliseconds. From the depth on where a window is full
(50 messages of history, 200 of a worker's window) nothing may grow.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from runtime import settings
from runtime.model import Role, State, Thread, User, new_id
from runtime.store import Database, migrate, states, threads, users

ROUNDS = 200
SAID = (states.NewMessage(Role.USER, "What is a tree? " * 20),)


def main() -> None:
    """Measure every database that is named on the command line."""
    with tempfile.TemporaryDirectory() as folder:
        for url in sys.argv[1:] or [f"sqlite:///{folder}/bench.db"]:
            migrate.upgrade(url)
            database = Database(url, settings.load({}).database)
            user = database.write(users.register, email=f"{new_id()}@example.com", password_hash="")
            print(f"\n{database.engine.name}: median / 95th percentile, ms")
            for name, thread, state in _trees(database, user):
                print(
                    f"  {name:<24}",
                    *(f"{what} {_cost(act)}" for what, act in _acts(database, user, thread, state)),
                )
            database.close()


def _trees(database: Database, user: User) -> list[tuple[str, Thread, State]]:
    """Trees that are deep, wide, or neither, and the state of each that is measured."""
    found = []
    for name, depth, width in (
        ("depth 10", 10, 1),
        ("depth 250", 250, 1),
        ("depth 10,000", 10_000, 1),
        ("10,000 siblings", 250, 10_000),
    ):
        thread = database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)
        found.append((name, thread, database.write(_grow, thread, depth, width)))
    if database.engine.name == "postgresql":
        database.write(lambda c: c.exec_driver_sql("ANALYZE"))
    return found


def _grow(c: Any, thread: Thread, depth: int, width: int) -> State:
    parent_id = thread.root_state_id
    for _ in range(depth - 1):
        [state] = states.add(c, thread_id=thread.id, parent_id=parent_id, messages=SAID)
        parent_id = state.id
    siblings = states.add(c, thread_id=thread.id, parent_id=parent_id, messages=SAID, run_ids=[None] * width)
    return siblings[width // 2]


def _acts(
    database: Database, user: User, thread: Thread, state: State
) -> list[tuple[str, Callable[[], Any]]]:
    def turn() -> None:
        database.write(states.add, thread_id=thread.id, parent_id=state.id, messages=SAID)

    def sibling() -> None:
        database.write(states.add, thread_id=thread.id, parent_id=str(state.parent_id), messages=SAID)

    return [
        ("turn", turn),
        ("sibling", sibling),
        ("history", lambda: database.read(states.history, user.workspace_id, state.id)),
        ("window", lambda: database.read(states.window, state.id, 200)),
        ("tree page", lambda: database.read(states.tree, user.workspace_id, thread.id)),
    ]


def _cost(act: Callable[[], Any]) -> str:
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        act()
        took.append((time.perf_counter() - began) * 1000)
    return f"{statistics.median(took):.2f}/{statistics.quantiles(took, n=20)[-1]:.2f} "


if __name__ == "__main__":
    main()
