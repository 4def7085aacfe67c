"""Messages to a run that is under way: they wait, may be removed, and begin the next run once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from runtime.model import RunStatus, new_id
from runtime.outboxes import outbox_of
from runtime.settings import Settings
from runtime.settings import load as load_settings
from runtime.store import attempts, outbox, queued_messages, recovery, runs, tables
from runtime.store.tables import now
from tests.support.attempt import Attempt, stored_run, stored_text
from tests.support.web import Client
from web.core import Core


@pytest.fixture
def web_settings(web_environ: dict[str, str]) -> Settings:
    """Few runs may wait."""
    return load_settings({**web_environ, "BRANCHLINE_LIMITS_QUEUED_PER_USER": "4"})


@pytest.fixture
def run(ada: Client) -> dict[str, Any]:
    """A run that is queued, with a config and arguments of its own."""
    body = {"config": {"tone": "terse"}, "args": {"depth": 3}, "priority": 7, "timeout": 60}
    return dict(ada.ask(ada.thread(), **body).json["runs"][0])


def send(client: Client, run: dict[str, Any], *texts: str, key: str | None = None) -> Any:
    """Send messages of the user to a run."""
    body = {"messages": [{"role": "user", "content": text} for text in texts]}
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/api/runs/{run['id']}/messages", json=body, headers=headers)


def waiting(client: Client, run: dict[str, Any]) -> list[str]:
    found = client.get(f"/api/runs/{run['id']}/messages")
    assert found.status_code == 200, found.text
    return [message["content"] for message in found.json["items"]]


def runs_of(core: Core, run: dict[str, Any]) -> list[Any]:
    """The runs of its thread, oldest first."""
    return core.database.read(runs.listing, None, thread_id=run["thread_id"]).items[::-1]


def end(core: Core, run: dict[str, Any], status: RunStatus = RunStatus.SUCCESS) -> None:
    """Execute a run."""
    attempt = Attempt(core, run["id"])
    attempt.say("Done.")
    attempt.finish(status)


@pytest.mark.parametrize("status", ["queued", "running", "waiting"])
def test_messages_wait_for_a_run_that_is_under_way(
    ada: Client, core: Core, run: dict[str, Any], status: str
) -> None:
    if status != "queued":
        attempt = Attempt(core, run["id"])
        if status == "waiting":
            attempt.ask("Go on?")

    sent = send(ada, run, "And birds?", "And fish?")

    assert sent.status_code == 202, sent.text
    assert [message["content"] for message in sent.json["messages"]] == ["And birds?", "And fish?"]
    assert send(ada, run, "And bees?").status_code == 202
    assert waiting(ada, run) == ["And birds?", "And fish?", "And bees?"]


def test_a_message_can_be_removed_while_it_waits(ada: Client, run: dict[str, Any]) -> None:
    first, second = send(ada, run, "And birds?", "And fish?").json["messages"]
    path = f"/api/runs/{run['id']}/messages"

    assert ada.delete(f"{path}/{first['id']}").status_code == 204

    assert waiting(ada, run) == ["And fish?"]
    assert ada.delete(f"{path}/{first['id']}").status_code == 404
    assert ada.delete(f"{path}/{new_id()}").status_code == 404
    assert second["id"]


def test_a_request_that_is_sent_again_queues_nothing_more(ada: Client, run: dict[str, Any]) -> None:
    first = send(ada, run, "And birds?", key="k")

    assert send(ada, run, "And birds?", key="k").json == first.json
    assert send(ada, run, "And fish?", key="k").status_code == 409
    assert waiting(ada, run) == ["And birds?"]


def test_nobody_else_reaches_the_messages_of_a_run(ada: Client, bob: Client, run: dict[str, Any]) -> None:
    (message,) = send(ada, run, "And birds?").json["messages"]

    assert send(bob, run, "Mine!").status_code == 404
    assert bob.get(f"/api/runs/{run['id']}/messages").status_code == 404
    assert bob.delete(f"/api/runs/{run['id']}/messages/{message['id']}").status_code == 404
    assert waiting(ada, run) == ["And birds?"]


@pytest.mark.parametrize("status", [RunStatus.SUCCESS, RunStatus.ERROR, RunStatus.CANCELLED])
def test_a_run_that_has_ended_takes_no_messages(
    ada: Client, core: Core, run: dict[str, Any], status: RunStatus
) -> None:
    end(core, run, status)

    refused = send(ada, run, "And birds?")

    assert refused.status_code == 409
    assert refused.json["detail"] == f"The run has ended: {status}. Begin another run with the messages."


def test_so_many_messages_may_wait_and_not_more(ada: Client, run: dict[str, Any]) -> None:
    for _ in range(2):
        assert send(ada, run, *["more"] * 50).status_code == 202

    refused = send(ada, run, "too much")

    assert refused.status_code == 429
    assert "At most 100 messages" in refused.json["detail"]
    assert send(ada, run, *["more"] * 101).status_code == 422
    assert send(ada, run).status_code == 422


def test_the_messages_that_wait_are_limited_in_size(
    ada: Client, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queued_messages, "MAX_WAITING_BYTES", 1 << 20)
    assert send(ada, run, "x" * 600_000).status_code == 202

    assert send(ada, run, "x" * 600_000).status_code == 429


def test_what_is_left_after_success_begins_one_run_of_the_same_kind(
    ada: Client, core: Core, run: dict[str, Any]
) -> None:
    send(ada, run, "And birds?", "And fish?")
    end(core, run)

    assert outbox_of(core).handle_due() == 1
    assert outbox_of(core).handle_due() == 0

    steered, begun = runs_of(core, run)
    same = ("worker_id", "pool", "config", "args", "priority", "timeout_seconds", "user_id")
    assert [getattr(begun, name) for name in same] == [getattr(steered, name) for name in same]
    question = ada.get(f"/api/states/{begun.input_state_id}").json["state"]
    assert question["parent_id"] == steered.output_state_id
    assert [message["content"] for message in question["messages"]] == ["And birds?", "And fish?"]
    assert waiting(ada, run) == []
    assert begun.status is RunStatus.QUEUED
    assert send(ada, run, "late").status_code == 409
    assert send(ada, {"id": begun.id}, "in time").status_code == 202


def test_the_next_run_is_announced_with_its_states(ada: Client, core: Core, run: dict[str, Any]) -> None:
    send(ada, run, "And birds?")
    end(core, run)
    before = core.log.cursor(run["thread_id"])

    outbox_of(core).handle_due()

    begun = runs_of(core, run)[1]
    entries = core.log.read(run["thread_id"], before).entries
    assert [(entry.type, entry.fields["state_id"]) for entry in entries] == [
        ("state.created", begun.input_state_id),
        ("state.created", begun.output_state_id),
        ("run.queued", begun.output_state_id),
    ]


def test_a_run_whose_beginner_died_before_it_was_announced_is_announced(
    ada: Client, core: Core, run: dict[str, Any]
) -> None:
    send(ada, run, "And birds?")
    end(core, run)
    assert core.dispatcher._acceptance.accept_next(stored_run(core, run["id"])) is not None
    before = core.log.cursor(run["thread_id"])

    outbox_of(core).handle_due()

    begun = runs_of(core, run)[1]
    entries = core.log.read(run["thread_id"], before).entries
    assert [entry.fields["state_id"] for entry in entries if entry.type == "state.created"] == [
        begun.input_state_id,
        begun.output_state_id,
    ]


def test_processes_that_handle_the_same_end_begin_one_run(
    ada: Client, core: Core, run: dict[str, Any]
) -> None:
    send(ada, run, "And birds?", "And fish?")
    end(core, run)
    begin = Barrier(4)

    def handle() -> None:
        begin.wait(10)
        core.dispatcher.begin_next(run["id"])

    with ThreadPoolExecutor(4) as processes:
        for process in [processes.submit(handle) for _ in range(4)]:
            process.result(timeout=30)

    assert len(runs_of(core, run)) == 2


@pytest.mark.parametrize("status", [RunStatus.ERROR, RunStatus.TIMEOUT, RunStatus.CANCELLED])
def test_what_is_left_rests_where_the_run_did_not_succeed(
    ada: Client, core: Core, run: dict[str, Any], status: RunStatus
) -> None:
    (message,) = send(ada, run, "And birds?").json["messages"]
    end(core, run, status)

    assert outbox_of(core).handle_due() == 0

    assert len(runs_of(core, run)) == 1
    assert waiting(ada, run) == ["And birds?"]
    assert ada.delete(f"/api/runs/{run['id']}/messages/{message['id']}").status_code == 204


def test_nothing_begins_where_all_messages_were_removed(ada: Client, core: Core, run: dict[str, Any]) -> None:
    (message,) = send(ada, run, "And birds?").json["messages"]
    end(core, run)
    ada.delete(f"/api/runs/{run['id']}/messages/{message['id']}")

    outbox_of(core).handle_due()

    assert len(runs_of(core, run)) == 1


def test_a_run_that_was_sent_nothing_leaves_nothing_to_do(core: Core, run: dict[str, Any]) -> None:
    end(core, run)

    assert core.database.read(outbox.counts) == []


def test_a_deleted_thread_begins_no_run(ada: Client, core: Core, run: dict[str, Any]) -> None:
    send(ada, run, "And birds?")
    end(core, run)
    ada.delete(f"/api/threads/{run['thread_id']}")

    assert outbox_of(core).handle_due() == 2

    assert len(runs_of(core, run)) == 1


def test_a_next_run_that_exceeds_a_limit_begins_once_there_is_room(
    ada: Client, core: Core, run: dict[str, Any]
) -> None:
    send(ada, run, "And birds?")
    attempt = Attempt(core, run["id"])
    others = [ada.ask(ada.thread()).json["runs"][0] for _ in range(4)]
    attempt.finish()

    assert outbox_of(core).handle_due() == 0
    assert len(runs_of(core, run)) == 1
    assert waiting(ada, run) == ["And birds?"]

    ada.post(f"/api/runs/{others[0]['id']}/cancel")
    core.database.write(lambda c: c.execute(tables.outbox.update().values(due_at=now(-1))))
    assert outbox_of(core).handle_due() == 1
    assert len(runs_of(core, run)) == 2


def test_an_end_waits_for_messages_that_are_just_being_sent(
    ada: Client, core: Core, run: dict[str, Any]
) -> None:
    """A message is refused or seen: an end that overtakes it would leave it for ever."""
    attempt = Attempt(core, run["id"])
    message = queued_messages.NewMessage("user", "And birds?")  # type: ignore[arg-type]
    queued, may_commit = Barrier(2), Barrier(2)

    def send_slowly(c: Any) -> None:
        queued_messages.add(c, attempt.run.workspace_id, run["id"], [message])
        queued.wait(10)
        may_commit.wait(10)

    with ThreadPoolExecutor(2) as processes:
        sending = processes.submit(core.database.write, send_slowly)
        queued.wait(10)
        ending = processes.submit(
            core.database.engine.finish, attempt.run, RunStatus.SUCCESS, attempts.AttemptResult()
        )
        may_commit.wait(10)
        sending.result(timeout=20)
        ending.result(timeout=20)

    assert outbox_of(core).handle_due() == 1
    assert stored_text(core, attempt.run) == []
    assert len(runs_of(core, run)) == 2


def test_a_lost_run_that_is_given_up_leaves_its_messages(
    ada: Client, core: Core, run: dict[str, Any]
) -> None:
    send(ada, run, "And birds?")
    for _ in range(stored_run(core, run["id"]).max_attempts):
        core.database.write(
            lambda c: c.execute(tables.runs.update().values(lease_until=None, not_before=None))
        )
        claim = core.database.engine.claim(run["id"], "pool", 10.0, {"": 200}, isolated=True)
        assert claim is not None
        core.database.write(lambda c: c.execute(tables.runs.update().values(lease_until=now(-1))))
        core.database.write(recovery.take_over, claim.run, [], 0.0, "It was lost.")

    assert stored_run(core, run["id"]).status is RunStatus.ERROR
    assert waiting(ada, run) == ["And birds?"]
