"""Systems that live: messages find their way, are handled once and in order, and end where they must."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from runtime.errors import TooMany, WorkerUnavailable
from runtime.model import RunError, RunStatus
from runtime.outboxes import outbox_of
from runtime.store import page, tables, threads
from runtime.systems import mailboxes, passing, routing
from runtime.systems.service import Systems
from tests.support.newsroom import Newsroom, an, channel, echo, end, send
from tests.support.web import Client
from web.core import Core

BROKEN = RunError("worker_error", "It is broken.")


def caused(room: Newsroom, message_id: str) -> list[tuple[str, str, str, str]]:
    return [
        (one["from"], one["to"], one["kind"], one["body"]["content"]) for one in room.story(message_id)[1]
    ]


def test_a_query_is_answered_and_its_answer_goes_on_through_the_channels(ada: Client, core: Core) -> None:
    channels = [channel("writer", "critic", "query"), channel("critic", "editor")]
    room = Newsroom(ada, core, an("writer"), an("critic"), an("editor"), channels=channels)
    system = room.now()
    assert (system["name"], system["status"], system["version"]) == ("newsroom", "running", 1)
    assert [one["name"] for one in system["entities"]] == ["critic", "editor", "writer"]

    first = room.told("writer", "cats")
    assert room.play() == [
        "None>writer cats",
        "writer>critic writer(cats)",
        "critic>editor critic(writer(cats))",
    ]

    message, following = room.story(first)
    assert message["answer"] == {"content": "writer(cats)", "data": {}}
    assert (message["status"], message["hops"], message["number"]) == ("done", 0, 1)
    assert [(one["hops"], one["status"]) for one in following] == [(1, "done"), (2, "done")]
    assert {one["correlation_id"] for one in following} == {message["correlation_id"]}
    assert following[1]["answer"] is None  # a read is never answered
    assert ada.get("/api/systems").json["items"][0]["id"] == system["id"]


@pytest.mark.databases
def test_what_a_worker_sends_goes_out_once_it_has_succeeded(ada: Client, core: Core) -> None:
    room = Newsroom(ada, core, an("a"), an("b"), an("c"))
    first = room.told("a", "go", "read")

    def play(message: dict[str, Any]) -> Any:
        if message["to"] == "a" and message["sender"] is None:
            asks = send("b", "what?", "query", reply_to="c")
            return "said", [send("c", "hello"), asks, send("nobody", "lost")]
        return "answer of b" if message["to"] == "b" else "heard"

    room.play(play)
    assert caused(room, first) == [
        ("a", "c", "read", "hello"),
        ("a", "b", "query", "what?"),
        ("a", None, "read", "lost"),
        ("b", "c", "read", "answer of b"),
    ]
    assert room.dead() == [(None, "unknown_entity")]


def test_what_a_run_sends_that_fails_is_not_sent(ada: Client, core: Core) -> None:
    room = Newsroom(ada, core, an("a"), an("b"))
    first = room.told("a", "go")
    [attempt] = room.begin()
    attempt.finish(RunStatus.ERROR, BROKEN, sent=[send("b", "hello")])
    room.play()

    message, following = room.story(first)
    assert following == []
    assert (message["status"], message["reason"]) == ("failed", "worker_error")
    assert message["answer"]["data"]["error"] == {"code": "worker_error", "message": "It is broken."}


def test_an_error_goes_to_the_asker_and_over_channels_for_errors(ada: Client, core: Core) -> None:
    channels = [channel("a", "b", "query"), channel("b", "a"), channel("b", "watch", errors=True)]
    room = Newsroom(ada, core, an("a"), an("b"), an("watch"), channels=channels, limits={"hops": 1})
    first = room.told("a", "go", "query")

    handled = room.play(lambda message: BROKEN if message["to"] == "b" else echo(message))
    assert sorted(handled[2:]) == ["b>a It is broken.", "b>watch It is broken."]
    errors = [one for one in room.story(first)[1] if one["error"]]
    assert {(one["to"], one["kind"], one["hops"]) for one in errors} == {
        ("a", "read", 1),
        ("watch", "read", 1),
    }


def test_errors_make_no_errors(ada: Client, core: Core) -> None:
    channels = [channel("a", "b", errors=True), channel("b", "a", errors=True)]
    room = Newsroom(ada, core, an("a"), an("b"), channels=channels, limits={"hops": 1})
    room.told("a", "go")
    assert room.play(lambda _: BROKEN) == ["None>a go", "a>b It is broken."]

    room.told("b", "go", "read")
    asks = room.play(lambda message: ("", [send("nobody", "x", "query")]))
    assert len(asks) == 2  # the second one is told of the first one's error
    assert room.dead() == [(None, "unknown_entity")] * 2


def test_an_entity_handles_as_many_messages_at_once_as_it_may(ada: Client, core: Core) -> None:
    room = Newsroom(ada, core, an("a"), an("b", concurrency=3))
    for number in range(4):
        room.told("a", str(number), "read")
        room.told("b", str(number), "read")

    assert len(room.begin()) == 4 and room.begin() == []


def test_messages_are_handled_in_order_and_by_priority(ada: Client, core: Core) -> None:
    room = Newsroom(ada, core, an("a"))
    for number in range(3):
        room.told("a", str(number), "read")
    room.told("a", "first", "read", priority=5)

    assert room.play() == [f"None>a {what}" for what in ("first", "0", "1", "2")]


def test_an_entity_remembers_what_it_was_told_before(ada: Client, core: Core) -> None:
    room = Newsroom(ada, core, an("a"), an("b", concurrency=2))
    for name in ("a", "b"):
        room.told(name, "one")
        room.play()
        room.told(name, "two")
        [attempt] = room.begin()
        texts = [message.content for message in attempt.claim.messages]
        assert texts == (["one", "a(one)", "two"] if name == "a" else ["two"])
        end(attempt, "")


def test_messages_end_after_as_many_hops_as_there_may_be(ada: Client, core: Core) -> None:
    channels = [channel("a", "b", "query"), channel("b", "a", "query")]
    room = Newsroom(ada, core, an("a"), an("b"), channels=channels, limits={"hops": 5})
    first = room.told("a", "x")

    handled = room.play(lambda message: "x")
    assert len([one for one in handled if "not delivered" not in one]) == 6
    assert room.dead() == [("a", "hops")]
    errors = [one for one in room.story(first)[1] if one["error"]]
    assert [(one["to"], one["body"]["data"]["error"]["code"]) for one in errors] == [("b", "hops")]


def test_no_more_messages_follow_than_may(ada: Client, core: Core) -> None:
    channels = [channel("a", name) for name in ("b", "c", "d")]
    room = Newsroom(ada, core, *(an(name) for name in "abcd"), channels=channels, limits={"messages": 3})
    first = room.told("a", "x")
    room.play()

    assert [one["status"] for one in room.story(first)[1]] == ["done", "done", "dead"]
    assert room.dead() == [("d", "messages")]


def test_filters_and_maps_of_channels(ada: Client, core: Core) -> None:
    channels = [
        channel(
            "a", "b", when={"contains": "Draft"}, map={"content": "See: {content}", "data": {"n": "{data.n}"}}
        ),
        channel("a", "c", when={"data": {"n": 2}}),
    ]
    room = Newsroom(ada, core, an("a"), an("b"), an("c"), channels=channels)
    first = room.told("a", "x")
    room.play(lambda message: "a draft")

    assert caused(room, first) == [("a", "b", "read", "See: a draft")]


def test_a_map_makes_no_body_without_bounds(ada: Client, core: Core) -> None:
    channels = [
        channel("a", "b", "query", when={"contains": "long"}, map={"content": "{content}" * 200}),
        channel("a", "b", errors=True, when={"contains": "long"}, map={"content": "{content}" * 200}),
    ]
    room = Newsroom(ada, core, an("a"), an("b"), channels=channels, limits={"hops": 5})
    room.told("a", "x", "read")
    long = "long" * 5000
    asked = room.play(lambda message: ("", [send(None, long)]) if message["sender"] is None else "")
    assert asked[1:] == ["b>a The message to b was not delivered."]
    assert room.dead() == [("b", "not_accepted")] * 2


def test_a_map_nests_no_deeper_than_a_hundred() -> None:
    body: dict[str, Any] = {"content": "", "data": {}}
    again = {"data": {"again": "{data}"}}
    for _ in range(99):
        body = passing.Maps().body(again, body)
    with pytest.raises(passing.TooLarge):
        passing.Maps().body(again, passing.Maps().body(again, body))


def test_what_can_never_be_sent_ends_its_message(
    ada: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RecursionError

    room = Newsroom(ada, core, an("a"), an("b"), channels=[channel("a", "b")])
    first = room.told("a", "x")
    monkeypatch.setattr(routing, "after_success", fail)
    room.play()

    message, following = room.story(first)
    assert (message["status"], message["reason"], following) == ("failed", "invalid", [])


def test_messages_that_follow_are_cut_and_the_answer_goes_first(ada: Client, core: Core) -> None:
    room = Newsroom(
        ada, core, *map(an, "abc"), channels=[channel("a", "c"), channel("a", "b")], limits={"messages": 3}
    )
    first = room.told("a", "x")
    many = [send("b", str(number), "query") for number in range(9)]
    room.play(lambda message: ("answer", many) if message["sender"] is None else "")

    assert caused(room, first)[:3] == [
        ("a", "c", "read", "answer"),
        ("a", "b", "read", "answer"),
        ("a", "b", "query", "0"),
    ]
    assert room.dead() == [("b", "messages")]  # for all nine
    assert [one["to"] for one in room.story(first)[1] if one["error"]] == ["a"]


def test_what_goes_through_channels_has_its_reply_to(ada: Client, core: Core) -> None:
    room = Newsroom(ada, core, *map(an, "abc"), channels=[channel("a", "b", "query")])
    first = room.told("a", "x", "read")
    sent = [send(None, "?", None, reply_to="c"), send(None, "lost", None, reply_to="nobody")]
    room.play(lambda message: ("", sent) if message["to"] == "a" and not message["error"] else "answer")

    assert ("b", "c", "read", "answer") in caused(room, first)
    assert room.dead() == [("b", "unknown_entity")]


@pytest.mark.parametrize(
    ("pick", "expected"), [("any", 1), ("all", 2), ("first", 2)], ids=["any", "all", "first"]
)
def test_entities_are_chosen_by_their_components(ada: Client, core: Core, pick: str, expected: int) -> None:
    channels = [
        {"from": "a", "with": ["vision", "language:de"], "pick": pick, "kind": "query"},
        channel("b", "end"), channel("c", "end"),
    ]  # fmt: skip
    seeing = {"vision": True, "language": "de"}
    room = Newsroom(
        ada, core, an("a", components={**seeing}), an("b", components=seeing), an("c", components=seeing),
        an("d", components={**seeing, "vision": False}), an("end"), channels=channels,
    )  # fmt: skip
    first = room.told("a", "x")
    room.play()

    queries = [one for one in room.story(first)[1] if one["kind"] == "query"]
    answers = [one for one in room.story(first)[1] if one["to"] == "end"]
    assert len(queries) == expected
    assert [one["status"] for one in answers] == (
        ["done", "dead"] if pick == "first" else ["done"] * expected
    )
    assert [reason for _, reason in room.dead()] == (["late"] if pick == "first" else [])


def test_a_body_that_does_not_fit_is_not_delivered(ada: Client, core: Core) -> None:
    takes = {"type": "object", "properties": {"data": {"type": "object", "required": ["n"]}}}
    room = Newsroom(ada, core, an("a"), an("b", accepts=takes), channels=[channel("a", "b")])
    first = room.told("a", "x")
    room.play()

    assert room.dead() == [("b", "not_accepted")]
    assert room.tell("b", "x").status_code == 422
    assert room.told("b", "x", body={"content": "x", "data": {"n": 1}})
    assert room.story(first)[0]["status"] == "done"


def test_a_mailbox_that_is_full_slows_its_sender(ada: Client, core: Core) -> None:
    slow = an("slow", mailbox={"size": 1})
    room = Newsroom(ada, core, an("quick"), slow, channels=[channel("quick", "slow")])
    room.told("slow", "busy", "read")
    room.follow()  # it is at work, and its mailbox empty
    for number in range(3):
        room.told("quick", str(number))
    busy, *others = room.begin()
    end(others[0], "0")  # fits
    [attempt] = room.begin()
    end(attempt, "1")  # is held

    assert room.begin() == []
    assert room.mailbox("slow") == 1 and room.mailbox("quick") == 1
    assert room.tell("slow", "more").status_code == 429
    end(busy, "")
    assert room.play() == ["quick>slow 0", "None>quick 2", "quick>slow 1", "quick>slow quick(2)"]


@pytest.mark.databases
def test_a_full_mailbox_refuses_or_drops_if_it_is_to(ada: Client, core: Core) -> None:
    refusing = an("refusing", mailbox={"size": 1, "when_full": "refuse"})
    dropping = an("dropping", mailbox={"size": 1, "when_full": "drop_oldest_read"})
    room = Newsroom(ada, core, an("a"), refusing, dropping)
    for name in ("refusing", "dropping"):
        room.told(name, "busy", "read")
    room.begin()
    room.told("a", "go")
    [attempt] = room.begin()
    sent = [send(name, str(number)) for number in range(3) for name in ("refusing", "dropping")]
    end(attempt, ("", [*sent, send("refusing", "?", "query")]))
    room.follow()

    assert sorted(room.dead()) == [
        ("dropping", "dropped"), ("dropping", "dropped"),
        ("refusing", "mailbox_full"), ("refusing", "mailbox_full"), ("refusing", "mailbox_full"),
    ]  # fmt: skip
    [attempt] = room.begin()  # the query's error
    assert attempt.run.message["error"] and attempt.run.message["sender"] == "refusing"


@pytest.mark.databases
def test_entities_that_wait_for_each_other_go_on(ada: Client, core: Core) -> None:
    small = {"size": 1}
    names = "abcd"
    ring = [channel(one, names[(place + 1) % 4]) for place, one in enumerate(names)]
    room = Newsroom(
        ada, core, *(an(name, mailbox=small) for name in names), channels=ring, limits={"hops": 9}
    )
    for _ in range(2):  # one at work and one in the mailbox of each
        for name in names:
            room.told(name, name)
        room.follow()

    handled = room.play(lambda message: "x", most=200)
    begun = {name: sum(one.split()[0].endswith(f">{name}") for one in handled) for name in names}
    assert begun == dict.fromkeys(names, 4)
    assert room.dead() == []


@pytest.mark.databases
def test_a_deadline_ends_what_waits(ada: Client, core: Core) -> None:
    room = Newsroom(ada, core, an("a"), an("b"), channels=[channel("a", "b", "query")])
    room.told("b", "busy", "read")
    [busy] = room.begin()
    first = room.told("a", "x", deadline=0.001)
    room.follow()
    message, _ = room.story(first)
    assert (message["status"], message["reason"]) == ("dead", "expired")
    assert message["answer"]["data"]["error"]["code"] == "expired"
    end(busy, "")


@pytest.mark.databases
def test_a_system_that_is_stopped_ends_what_it_has(ada: Client, core: Core) -> None:
    room = Newsroom(ada, core, an("a"), an("b"), channels=[channel("a", "b")])
    for number in range(2):
        room.told("a", str(number))
    begun = room.begin()
    stopped = ada.post(f"{room.path}/stop").json["system"]
    assert stopped["status"] == "stopping"
    assert room.tell("a", "more").status_code == 409
    end(begun[0], "x")
    assert len(room.play()) == 3
    assert room.now()["status"] == "stopped"
    assert room.dead() == []


def test_a_system_that_is_stopped_at_once_drops_what_it_has(ada: Client, core: Core) -> None:
    room = Newsroom(ada, core, an("a"), an("b"), channels=[channel("a", "b", "query")])
    first = room.told("a", "0")
    room.told("a", "1")
    room.follow()
    stopped = ada.post(f"{room.path}/stop", json={"drain": False}).json["system"]

    assert stopped["status"] == "stopped"
    assert room.play() == []
    assert room.story(first)[0]["status"] == "failed"
    assert room.dead() == [("a", "stopped")]


@pytest.mark.databases
def test_a_system_is_deleted_with_all_that_it_has(ada: Client, core: Core, bob: Client) -> None:
    room = Newsroom(ada, core, an("a"))
    first = room.told("a", "x")
    room.follow()
    [run_id] = room.queued()
    assert ada.get("/api/threads").json["items"] == []
    assert bob.get(room.path).status_code == 404
    assert bob.delete(room.path).status_code == 404
    assert ada.delete(room.path).status_code == 204

    assert ada.get(room.path).status_code == 404
    assert ada.get(f"{room.path}/messages/{first}").status_code == 404
    assert ada.get(f"/api/runs/{run_id}").status_code == 404
    room.follow()


@pytest.mark.databases
def test_the_threads_of_sub_runs_are_deleted_with_their_system(ada: Client, core: Core) -> None:
    room = Newsroom(ada, core, an("a"))
    threads_of = tables.threads.c

    def left(c: sa.Connection) -> set[str | None]:
        is_left = (threads_of.called_from.is_not(None), threads_of.deleted_at.is_(None))
        return set(c.execute(sa.select(threads_of.title).where(*is_left)).scalars())

    def call(c: sa.Connection) -> None:
        own = c.execute(sa.select(tables.threads).where(threads_of.title == "newsroom: a")).one()
        of = {"workspace_id": own.workspace_id, "user_id": own.user_id}
        threads.create(c, **of, title="sub-run", called_from=own.id)

    core.database.write(call)
    assert core.database.read(left) == {"newsroom", "newsroom: a", "sub-run"}
    assert ada.delete(room.path).status_code == 204
    assert core.database.read(left) == set()


def tasks(core: Core) -> dict[str, int]:
    """How many tasks of systems there are, by kind."""
    kind = tables.outbox.c.kind
    query = sa.select(kind, sa.func.count()).where(kind.startswith("system_")).group_by(kind)
    return {row[0]: row[1] for row in core.database.read(lambda c: c.execute(query).all())}


@pytest.mark.databases
@pytest.mark.parametrize(
    "error", [TooMany(), WorkerUnavailable("parrot", "asleep")], ids=["full", "no worker"]
)
def test_what_cannot_be_handled_now_is_tried_by_one_task(
    ada: Client, core: Core, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    room = Newsroom(ada, core, an("a"))
    for number in range(3):
        room.told("a", str(number), "read")
    with monkeypatch.context() as patch:
        patch.setattr(Systems, "_begin", refuse)
        room.follow()
        outbox_of(core).handle_due()
        assert tasks(core) == {"system_again": 1, "system_expired": 3}

    assert room.play() == ["None>a 0", "None>a 1", "None>a 2"]
    room.follow()
    assert tasks(core) == {}  # those of deadlines are gone, too
    assert core.database.read(lambda c: c.execute(sa.select(tables.run_sends)).all()) == []


@pytest.mark.databases
def test_a_system_takes_no_more_from_outside_than_it_can_hold(
    ada: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailboxes, "MOST_UNDER_WAY", 2)
    room = Newsroom(ada, core, an("a"), an("b"))
    for name in "ab":
        room.told(name, "x", "read")

    assert room.tell("a", "more").status_code == 429
    room.play()
    assert room.tell("a", "more").status_code == 202


@pytest.mark.databases
def test_what_is_shown_of_messages_has_a_bound_in_bytes(
    ada: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Newsroom(ada, core, an("a"))
    first = room.told("a", "go", "read")
    lost = [send("nobody", f"{number}".ljust(1000)) for number in range(5)]
    room.play(lambda _: ("", lost))
    monkeypatch.setattr(page, "PAGE_BYTES", 2500)

    assert [one["body"]["content"][0] for one in room.story(first)[1]] == ["0", "1", "2"]
    newest = ada.get(f"{room.path}/dead-letters").json
    assert [one["body"]["content"][0] for one in newest["items"]] == ["4", "3", "2"]
    older = ada.get(f"{room.path}/dead-letters?cursor={newest['next']}").json
    assert [one["body"]["content"][0] for one in older["items"]] == ["1", "0"]


def test_a_definition_with_errors_is_not_started(ada: Client) -> None:
    answer = ada.post("/api/systems", json={"name": "x", "entities": [an("a"), an("a")]})

    assert answer.status_code == 422
    assert [error["path"] for error in answer.json["errors"]] == ["entities.1.name"]


def test_a_task_that_is_carried_out_twice_does_no_harm(ada: Client, core: Core) -> None:
    room = Newsroom(ada, core, an("a"), an("b"), channels=[channel("a", "b")])
    first = room.told("a", "x")
    [attempt] = room.begin()
    handlers = outbox_of(core)._handlers
    end(attempt, "x")
    for _ in range(2):
        handlers["system_handled"]({"message_id": first})

    assert len(room.story(first)[1]) == 1
