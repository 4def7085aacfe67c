"""The catalogue: what a process without the folders of workers knows of them, as pools register it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Invalid, UnknownWorker, WorkerElsewhere
from runtime.registry import Registry, Worker, load
from runtime.registry.catalogue import Catalogue
from runtime.store import Connection, Database, pools, worker_versions
from runtime.store.tables import now
from runtime.store.tables import pools as table

LEASE = 10.0
SCHEMA = {"type": "object", "properties": {"z": {"type": "integer"}, "a": {"default": "x"}}}

Make = Callable[..., Worker]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A version of the worker ``w``, with this code."""

    def make(code: str, *lines: str) -> Worker:
        (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
        (tmp_path / "w.py").write_text(code)
        first = 'id = "w"\nname = "W"\ntype = "python"\nentrypoint_path = "w.py"\n'
        text = first + 'config_schema_path = "schema.json"\n' + "\n".join(lines)
        (tmp_path / "worker.toml").write_text(text)
        return load(tmp_path)

    return make


@pytest.fixture
def catalogue(database: Database) -> Catalogue:
    """That of a process without any folder."""
    return Catalogue(database, LEASE, lambda: Registry({}, {}))


def report(
    database: Database,
    incarnation: str,
    *workers: Worker,
    reason: str | None = None,
    note: str | None = None,
) -> None:
    """A process of the pool ``python`` has these workers."""

    def write(c: Connection) -> None:
        held = {w.id: {"digest": w.digest, "reason": reason, "rejected": None, "note": note} for w in workers}
        pools.report(c, "python", incarnation, 2, held)
        worker_versions.register(c, "python", {worker.digest: worker.encode() for worker in workers})

    database.write(write)


def described(catalogue: Catalogue) -> str:
    """Which version is."""
    catalogue.refresh(0)
    return catalogue.find("w").digest


def test_a_worker_is_known_without_its_folder_as_its_pool_has_read_it(
    database: Database, catalogue: Catalogue, make: Make
) -> None:
    worker = make("first", "max_attempts = 3", 'resume = "continue"', "[sandbox]", 'level = "strict"')
    with pytest.raises(UnknownWorker):
        catalogue.find("w")

    report(database, "a", worker)
    catalogue.refresh(0)
    known = catalogue.find("w")

    assert (known.name, known.digest, known.max_attempts, known.pool) == ("W", worker.digest, 3, "python")
    assert (known.sandbox, known.continues) == (worker.sandbox, True)
    assert list(known.config_schema["properties"]) == ["z", "a"]
    assert known.check_config({"z": 1}) == {"z": 1, "a": "x"}
    with pytest.raises(Invalid):
        known.check_config({"z": "no number"})
    assert catalogue.availability(known).available
    assert catalogue.continues("w")


def test_what_a_pool_notes_of_a_worker_is_told(database: Database, catalogue: Catalogue, make: Make) -> None:
    worker = make("first")
    report(database, "a", worker)
    report(database, "b", worker, note="Its import starts threads.")
    catalogue.refresh(0)

    told = catalogue.availability(catalogue.find("w"))
    assert (told.available, told.note) == (True, "Its import starts threads.")


def test_of_several_versions_the_newest_that_can_run_is_described(
    database: Database, catalogue: Catalogue, make: Make
) -> None:
    first = make("first")
    report(database, "a", first)
    second = make("second")
    report(database, "b", second)

    assert described(catalogue) == second.digest
    versions = catalogue.availability(catalogue.find("w")).versions
    assert [(v.digest, v.processes, v.reason) for v in versions] == [
        (second.digest, 1, None),
        (first.digest, 1, None),
    ]

    report(database, "b", second, reason="it lacks something")
    assert described(catalogue) == first.digest
    assert catalogue.availability(catalogue.find("w")).available

    report(database, "a", first, reason="here, too")
    assert described(catalogue) == second.digest
    availability = catalogue.availability(catalogue.find("w"))
    assert (availability.available, availability.refused) == (False, True)
    assert availability.reason == "here, too"


def test_a_worker_that_its_pool_has_no_more_is_not_listed_again_when_that_stops(
    database: Database, catalogue: Catalogue, make: Make
) -> None:
    report(database, "a", make("first"))
    report(database, "a")
    catalogue.refresh(0)
    with pytest.raises(UnknownWorker):
        catalogue.find("w")

    database.write(worker_versions.forget_replaced, "python", LEASE)
    database.write(pools.withdraw, "a")
    catalogue.refresh(0)
    with pytest.raises(UnknownWorker):
        catalogue.find("w")


def test_runs_wait_for_a_worker_whose_pool_is_away_until_nobody_knows_it_any_more(
    database: Database, catalogue: Catalogue, make: Make
) -> None:
    worker = make("first")
    report(database, "a", worker)
    database.write(pools.withdraw, "a")

    assert described(catalogue) == worker.digest
    availability = catalogue.availability(catalogue.find("w"))
    assert (availability.available, availability.refused) == (False, False)
    assert "No pool named 'python' is running" in str(availability.reason)

    old = worker_versions.FORGET_AFTER + 60
    seen_at = worker_versions.worker_versions.update().values(seen_at=now(-old))
    database.write(lambda c: c.execute(seen_at))
    database.write(worker_versions.forget_old)
    catalogue.refresh(0)
    with pytest.raises(UnknownWorker):
        catalogue.find("w")


def test_a_version_that_is_still_there_is_registered_again_when_somebody_has_forgotten_it(
    database: Database, catalogue: Catalogue, make: Make
) -> None:
    worker = make("first")
    report(database, "a", worker)
    database.write(lambda c: c.execute(table.update().values(seen_at=now(-3600))))
    database.write(worker_versions.forget_replaced, "python", LEASE)
    database.write(lambda c: c.execute(worker_versions.worker_versions.delete()))

    report(database, "a", worker)

    assert described(catalogue) == worker.digest


def test_what_a_later_version_of_branchline_registers_is_used_as_far_as_it_is_understood(
    database: Database, catalogue: Catalogue, make: Make
) -> None:
    worker = make("first")

    def register(digest: str, **changes: Any) -> None:
        document = worker.encode()
        changed = {**document, "worker": {**document["worker"], **changes}}  # type: ignore[dict-item]
        database.write(worker_versions.register, "python", {digest: changed})
        held = {changed["worker"]["id"]: {"digest": digest, "reason": None}}
        database.write(pools.report, "python", digest, 2, held)

    register("a" * 64, colour="blue")
    register("b" * 64, id="spirit", type="telepathic")
    catalogue.refresh(0)

    assert catalogue.find("w").name == "W"
    with pytest.raises(WorkerElsewhere):
        catalogue.find("spirit")


def test_what_is_read_is_of_one_moment(
    database: Database, make: Make, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool takes up a change of its worker while the catalogue is read."""
    old = make("1")
    report(database, "p1", old)
    new = make("2")
    listing = worker_versions.listing

    def take_up() -> None:
        report(database, "p1", new)
        database.write(worker_versions.forget_replaced, "python", LEASE)

    def interrupted(c: Connection) -> Any:
        monkeypatch.undo()
        found = listing(c)
        another_process = threading.Thread(target=take_up)
        another_process.start()
        another_process.join(10)
        return found

    monkeypatch.setattr(worker_versions, "listing", interrupted)
    assert catalogue.find("w").digest == old.digest

    catalogue.refresh(0)
    assert catalogue.find("w").digest == new.digest
