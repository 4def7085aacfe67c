"""Streams over HTTP, from a real web process: the test plays the pool."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from runtime import settings as settings_module
from runtime.model import RunStatus
from runtime.services import Services
from runtime.store import recovery
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.sse import Received, Text, parse
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from runtime.tokens import run_token
from tests.support.attempt import Attempt, stored_run, stored_text
from tests.support.metrics import figure
from tests.support.web_process import stack_on_sqlite, web_only

HARD_TEXT = (" leading", "\n", "\n\n", "", "\u2028", "a\r\nb", "😀", "data: x\n\n", "\ttab ", "x" * (1 << 20))
HEARTBEAT = 0.5
JSON = "application/json"

Environment = Callable[[], Stack]


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, stack_redis: RedisServer
) -> Environment:
    """Makes a stack on a database of its own."""

    def make() -> Stack:
        folder, settings = tmp_path_factory.mktemp("web"), {"BRANCHLINE_STREAM_HEARTBEAT": str(HEARTBEAT)}
        return stack_on_sqlite(folder, sqlite_template, stack_redis, **settings)

    return make


@pytest.fixture(scope="module")
def stack(environment: Environment) -> Iterator[Stack]:
    """A web process and nothing else; these tests share it."""
    with web_only(environment()) as stack:
        yield stack


@pytest.fixture
def services(stack: Stack) -> Iterator[Services]:
    """What the test plays the pool with."""
    services = Services(settings_module.load(stack.environ))
    yield services
    services.database.close()
    services.link.close()


@pytest.fixture
def ada(stack: Stack) -> Iterator[Client]:
    """A client with an account."""
    with closing(stack.client()) as client:
        yield client


def new_run(client: Client, **body: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    thread = client.thread()
    return thread, client.ask(thread, "Hello", **body)["runs"][0]


@contextmanager
def asking(
    client: Client, thread: dict[str, Any] | None, headers: dict[str, str] | None = None, **body: Any
) -> Iterator[tuple[httpx.Response, Iterator[Received]]]:
    """Ask for a run, and to be answered with its stream: the answer, and its events."""
    path = f"/api/threads/{thread['id']}/runs" if thread else "/api/runs"
    place = {"input_state_id": thread["root_state_id"]} if thread else {}
    wish = {"worker_id": "echo", "messages": [{"role": "user", "content": "Hello"}], **place, **body}
    headers = {"Accept": "text/event-stream", **(headers or {})}
    with httpx.Client.stream(client, "POST", path, json=wish, headers=headers) as answer:
        if answer.headers["Content-Type"].startswith("text/event-stream"):
            yield answer, parse(answer.iter_raw())
        else:
            answer.read()
            yield answer, iter(())


def types(events: list[Received]) -> list[str]:
    return [event.type for event in events]


def text_of(events: list[Received]) -> Text:
    text = Text()
    for event in events:
        text.apply(event)
    return text


def test_a_run_streams_from_its_beginning_to_its_end(ada: Client, services: Services) -> None:
    _, run = new_run(ada)
    with ada.stream(f"/api/runs/{run['id']}/events") as events:
        assert next(events).type == "run.queued"
        attempt = Attempt(services, run["id"])
        assert next(events).type == "run.started"
        message = attempt.say(*HARD_TEXT)
        ended = attempt.finish(usage={"output_tokens": 3})
        rest = list(events)

    assert types(rest) == [
        "message.created",
        *["message.delta"] * len(HARD_TEXT),
        "message.completed",
        "run.completed",
    ]
    assert text_of(rest).complete == {message: "".join(HARD_TEXT)}
    assert stored_text(services, ended) == ["".join(HARD_TEXT)]
    last = rest[-1].data
    assert (last["status"], last["usage"], last["output_state_id"]) == (
        "success",
        {"output_tokens": 3},
        run["output_state_id"],
    )
    assert [event.data["seq"] for event in rest] == list(
        range(rest[0].data["seq"], rest[0].data["seq"] + len(rest))
    )


def test_resuming_at_every_event_gives_the_rest_and_nothing_twice(ada: Client, services: Services) -> None:
    _, run = new_run(ada)
    attempt = Attempt(services, run["id"])
    attempt.say("one ", "two")
    attempt.finish()
    whole = ada.follow(run)

    for place, event in enumerate(whole[:-1]):
        assert event.id is not None
        assert ada.follow(run, after=event.id) == whole[place + 1 :]


def test_a_reader_that_has_seen_the_end_gets_204(ada: Client, services: Services) -> None:
    _, run = new_run(ada)
    Attempt(services, run["id"]).finish()
    last = ada.follow(run)[-1].id
    path = f"/api/runs/{run['id']}/events"

    header = ada.get(path, headers={"Last-Event-ID": last or ""})
    query = ada.get(path, params={"after": last})
    both = ada.get(path, params={"after": "0"}, headers={"Last-Event-ID": last or ""})

    assert [answer.status_code for answer in (header, query, both)] == [204, 204, 204]


@pytest.mark.parametrize("new_thread", [False, True])
def test_a_new_run_is_streamed_from_its_beginning_when_accept_prefers_a_stream(
    ada: Client, services: Services, new_thread: bool
) -> None:
    thread = None if new_thread else ada.thread()
    with asking(ada, thread) as (answer, events):
        assert next(events).type == "run.queued"
        run_id = answer.headers["Location"].removeprefix("/api/runs/")
        attempt = Attempt(services, run_id)
        message = attempt.say(*HARD_TEXT)
        attempt.finish()
        rest = list(events)

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    assert types(rest)[-1] == "run.completed"
    assert text_of(rest).complete == {message: "".join(HARD_TEXT)}
    assert ada.follow({"id": run_id})[1:] == rest


def test_a_repeated_request_streams_the_same_run(ada: Client, services: Services) -> None:
    thread = ada.thread()
    with asking(ada, thread, {"Idempotency-Key": "once"}) as (first, events):
        attempt = Attempt(services, first.headers["Location"].removeprefix("/api/runs/"))
        attempt.say("one ", "two")
        attempt.finish()
        whole = list(events)
    with asking(ada, thread, {"Idempotency-Key": "once"}) as (second, events):
        assert list(events) == whole
    assert second.headers["Location"] == first.headers["Location"]


def test_a_new_run_is_streamed_only_if_preferred_and_alone(ada: Client) -> None:
    thread = ada.thread()
    for accepted in ("*/*", "application/json, text/event-stream", "text/event-stream;q=0.5, */*"):
        with asking(ada, thread, {"Accept": accepted}) as (answer, _):
            assert (answer.status_code, answer.headers["Content-Type"]) == (202, "application/json")
        assert answer.headers["Location"] == f"/api/runs/{answer.json()['runs'][0]['id']}"
    with asking(ada, thread, n=2) as (refused, _):
        assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "n")
    assert len(ada.get("/api/runs", params={"thread_id": thread["id"]}).json()["items"]) == 3


def test_a_run_is_accepted_though_its_stream_cannot_begin(ada: Client, stack_redis: RedisServer) -> None:
    thread = ada.thread()
    stack_redis.kill()
    try:
        with asking(ada, thread) as (answer, _):
            run = answer.json()["runs"][0]
    finally:
        stack_redis.start()
    assert (answer.status_code, answer.headers["Content-Type"]) == (202, "application/json")
    assert ada.get(answer.headers["Location"]).json()["run"]["id"] == run["id"]


def test_a_run_is_streamed_from_the_database_when_redis_has_lost_it(
    ada: Client, services: Services, stack_redis: RedisServer
) -> None:
    _, run = new_run(ada)
    attempt = Attempt(services, run["id"])
    message = attempt.say(*HARD_TEXT)
    attempt.finish()
    before = ada.follow(run)
    stack_redis.restart()

    rebuilt = ada.follow(run)

    assert types(rebuilt) == [
        "run.queued", "run.started", "message.created", "message.delta", "message.completed", "run.step",
        "run.completed",
    ]  # fmt: skip
    assert [event.id for event in rebuilt] == [f"db-{run['id']}-1:{n}" for n in range(1, len(rebuilt) + 1)]
    assert text_of(rebuilt).complete == {message: "".join(HARD_TEXT)}
    assert (
        ada.get(f"/api/runs/{run['id']}/events", headers={"Last-Event-ID": rebuilt[-1].id or ""}).status_code
        == 204
    )
    for cursor in (before[2].id, before[-1].id, rebuilt[2].id):
        again = ada.follow(run, after=cursor)
        assert (again[0].type, again[0].id) == ("reset", None)
        assert again[1:] == rebuilt


def test_an_ended_run_is_streamed_while_redis_is_away(
    ada: Client, services: Services, stack_redis: RedisServer
) -> None:
    _, run = new_run(ada)
    attempt = Attempt(services, run["id"])
    attempt.say("Hello")
    attempt.finish()
    _, waiting = new_run(ada)
    stack_redis.kill()
    try:
        assert types(ada.follow(run))[-1] == "run.completed"
        answer = ada.get(f"/api/runs/{waiting['id']}/events")
    finally:
        stack_redis.start()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


def test_a_stream_continues_with_the_right_text_when_redis_loses_its_data(
    ada: Client, services: Services, stack_redis: RedisServer
) -> None:
    _, run = new_run(ada)
    attempt = Attempt(services, run["id"])
    done = attempt.say("first message")
    half = attempt.begin_message()
    attempt.write(half, "to be ", "con")
    with ada.stream(f"/api/runs/{run['id']}/events") as events:
        assert [next(events).type for _ in range(8)][-1] == "message.delta"
        attempt.save()
        with redis.Redis.from_url(stack_redis.url) as client:
            client.flushall()
        attempt.reopen()
        attempt.write(half, "tinu", "ed")
        attempt.end_message(half)
        ended = attempt.finish()
        rest = list(events)

    resets = [place for place, event in enumerate(rest) if event.type == "reset"]
    assert resets
    text: dict[str, str] = {}
    for event in rest[resets[-1] + 1 :]:
        if event.type == "message.delta":
            text[event.data["message_id"]] = text.get(event.data["message_id"], "") + event.data["text"]
    assert text == {done: "first message", half: "to be continued"}
    assert rest[-1].type == "run.completed"
    assert stored_text(services, ended) == ["first message", "to be continued"]


def test_a_thread_stream_has_the_events_of_all_branches_from_now_on(ada: Client, services: Services) -> None:
    thread, run = new_run(ada)
    with ada.stream(f"/api/threads/{thread['id']}/events") as events:
        next_event = threaded(events)
        attempt = Attempt(services, run["id"])
        other = ada.ask(thread, "And?")["runs"][0]
        ada.patch(f"/api/threads/{thread['id']}", json={"title": "Oak"})
        attempt.finish()
        ada.delete(f"/api/threads/{thread['id']}")
        seen = next_event()

    assert types(seen) == [
        "run.started", "state.created", "state.created", "run.queued", "thread.updated", "run.completed",
        "run.completed", "thread.deleted",
    ]  # fmt: skip
    assert (seen[6].data["run_id"], seen[6].data["status"]) == (other["id"], "cancelled")
    assert seen[3].data["run"]["id"] == other["id"]
    assert seen[4].data["thread"]["title"] == "Oak"


def test_a_thread_stream_from_zero_begins_with_the_oldest_entry(ada: Client, services: Services) -> None:
    thread, run = new_run(ada)
    Attempt(services, run["id"]).finish()
    with ada.stream(f"/api/threads/{thread['id']}/events", after="0") as events:
        seen = [next(events) for _ in range(5)]
    assert types(seen) == ["state.created", "state.created", "run.queued", "run.started", "run.completed"]

    with ada.stream(f"/api/threads/{thread['id']}/events", seen[2].id) as events:
        assert [next(events), next(events)] == seen[3:]


def test_a_stream_is_reset_and_ends_when_its_cursor_cannot_be_served(ada: Client) -> None:
    thread, run = new_run(ada)
    for shown in ("nonsense", "0:", "-1", "abc:99999", ":", "é", f"db-{run['id']}-0:1"):
        url = f"/api/threads/{thread['id']}/events"
        with httpx.Client.stream(ada, "GET", url, params={"after": shown}) as response:
            [event] = list(parse(response.iter_raw()))
        assert (event.type, event.id) == ("reset", None), shown
        assert event.data["reason"] == ("epoch" if shown == "abc:99999" else "malformed")


def test_following_the_reset_by_the_snapshot_ends_with_the_right_text(
    ada: Client, services: Services, stack_redis: RedisServer
) -> None:
    thread, run = new_run(ada)
    attempt = Attempt(services, run["id"])
    message = attempt.begin_message()
    attempt.write(message, "so ", "far")
    with ada.stream(f"/api/threads/{thread['id']}/events", after="0") as events:
        assert next(events).type == "state.created"
        with redis.Redis.from_url(stack_redis.url) as client:
            client.flushall()
        attempt.reopen()
        seen = list(events)
    assert seen[-1].type == "reset"

    snapshot = ada.get(
        f"/api/threads/{thread['id']}/snapshot", params={"state": run["output_state_id"]}
    ).json()
    [written] = snapshot["open"]
    text, n = written["message"]["content"], written["n"]
    attempt.write(message, " so", " good")
    attempt.end_message(message)
    attempt.finish()
    with ada.stream(f"/api/threads/{thread['id']}/events", snapshot["cursor"]) as events:
        for event in events:
            if event.type == "message.delta":
                assert event.data["n"] == n + 1
                text, n = text + event.data["text"], n + 1
            if event.type == "run.completed":
                break
    assert text == "so far so good"


def test_a_retried_run_names_discarded_messages_and_starts_over(ada: Client, services: Services) -> None:
    _, run = new_run(ada)
    first = Attempt(services, run["id"])
    lost = first.begin_message()
    first.write(lost, "never ")
    services.database.write(recovery.release, "pool-of-a-test")
    verdict = services.database.write(
        recovery.take_over, stored_run(services, run["id"]), [], 0, "The pool vanished."
    )
    assert verdict is not None
    services.announcer.retried(verdict.run)
    second = Attempt(services, run["id"])
    kept = second.say("done")
    second.finish()

    events = ada.follow(run)

    text = text_of(events)
    assert (text.void, text.complete) == ({lost}, {kept: "done"})
    assert [event.data["attempt"] for event in events if event.type == "run.started"] == [1, 2]


def test_silence_is_broken_by_heartbeats(ada: Client) -> None:
    thread, _ = new_run(ada)
    with httpx.Client.stream(ada, "GET", f"/api/threads/{thread['id']}/events") as response:
        lines = response.iter_lines()
        assert next(lines) == "retry: 1000"
        assert next(line for line in lines if line.startswith(":")) == ": hb"
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"


def test_a_stream_ends_soon_after_its_reader_has_signed_out(ada: Client) -> None:
    thread, run = new_run(ada)
    paths = (f"/api/threads/{thread['id']}/events", f"/api/runs/{run['id']}/events", "/api/events")
    with ExitStack() as open_streams:
        readers = [threaded(open_streams.enter_context(ada.stream(path))) for path in paths]
        ada.post("/api/auth/logout")

        for remaining in readers:
            assert types(remaining(within=20 * HEARTBEAT)) in ([], ["run.queued"])


def test_hints_say_what_has_changed_in_the_lists(ada: Client, stack: Stack, services: Services) -> None:
    with (
        closing(stack.client()) as bob,
        ada.stream("/api/events") as hints,
        bob.stream("/api/events") as others,
    ):
        thread, run = new_run(ada)
        told = [next(hints), next(hints)]
        assert [(hint.type, hint.data["thread_id"]) for hint in told] == [
            ("thread.updated", thread["id"]), ("run.changed", thread["id"]),
        ]  # fmt: skip
        assert told[1].data["status"] == "queued"
        own = bob.thread()
        assert next(others).data["thread_id"] == own["id"]
        assert run["status"] == "queued"


def test_one_connection_carries_hints_and_several_threads(
    ada: Client, stack: Stack, services: Services
) -> None:
    threads = [ada.thread() for _ in range(3)]
    seen = {one["id"]: services.log.cursor(one["id"]) for one in threads}
    with closing(stack.client()) as bob:
        foreign = bob.thread()
    wanted = {**{id: str(cursor) for id, cursor in seen.items()}, foreign["id"]: "e:1", threads[2]["id"]: "?"}
    with ada.stream("/api/events", **following(wanted)) as events:
        resets = [next(events) for _ in range(2)]
        assert {(one.type, one.data["thread_id"], one.data["reason"]) for one in resets} == {
            ("reset", foreign["id"], "not_found"), ("reset", threads[2]["id"], "malformed"),
        }  # fmt: skip
        runs = [ada.ask(thread, "Hello")["runs"][0] for thread in threads]
        attempts = [Attempt(services, run["id"]) for run in runs]
        for attempt in attempts:
            attempt.say(*HARD_TEXT)
            attempt.finish()
        received: dict[str, list[Received]] = {thread["id"]: [] for thread in threads[:2]}
        while any(not of or of[-1].type != "run.completed" for of in received.values()):
            event = next(events)
            if event.id:
                received[event.data["thread_id"]].append(event)
    for thread_id, of in received.items():
        first = seen[thread_id].seq + 1
        assert [event.data["seq"] for event in of] == list(range(first, first + len(of)))
        assert list(text_of(of).complete.values())[-1] == "".join(HARD_TEXT)


def test_one_connection_continues_each_thread_where_another_one_ended(
    ada: Client, services: Services
) -> None:
    threads = [ada.thread() for _ in range(2)]
    runs = [ada.ask(thread, "Hello")["runs"][0] for thread in threads]
    received: dict[str, list[Received]] = {thread["id"]: [] for thread in threads}
    for run in runs:
        attempt = Attempt(services, run["id"])
        attempt.say("one ", "two ", "three")
        attempt.finish()
    while any(not of or of[-1].type != "run.completed" for of in received.values()):
        seen = {id: of[-1].id or "" if of else "0" for id, of in received.items()}
        with ada.stream("/api/events", **following(seen)) as events:
            for _ in range(2):
                event = next(events)
                received[event.data["thread_id"]].append(event)
    for of in received.values():
        assert [event.data["seq"] for event in of] == list(range(1, len(of) + 1))


def test_a_stream_for_one_user_is_refused_to_another(ada: Client, stack: Stack) -> None:
    me = ada.get("/api/me").json()["user"]["id"]
    with closing(stack.client()) as bob, ada.stream("/api/events", user=me):
        assert bob.get("/api/events", params={"user": me}).status_code == 409


def following(seen: dict[str, str]) -> dict[str, Any]:
    return {"threads": ",".join(f"{thread}@{cursor}" for thread, cursor in seen.items())}


def test_waiting_returns_as_soon_as_the_run_has_ended(ada: Client, services: Services) -> None:
    _, run = new_run(ada)
    attempt = Attempt(services, run["id"])
    waiting = in_background(lambda: ada.wait(run, 30))
    attempt.say("Hello")
    attempt.finish()
    began = time.monotonic()

    result = waiting()

    assert time.monotonic() - began < 15
    assert (result["run"]["status"], result["messages"][0]["content"]) == ("success", "Hello")


def test_cancelling_with_wait_returns_once_the_run_has_ended(ada: Client, services: Services) -> None:
    _, run = new_run(ada)
    attempt = Attempt(services, run["id"])
    path = f"/api/runs/{run['id']}/cancel"
    assert ada.post(path, json={"wait": 0.1}).json()["run"]["status"] == "running"
    waiting = in_background(lambda: ada.post(path, json={"wait": True}).json())
    attempt.finish(RunStatus.CANCELLED)

    assert waiting()["run"]["status"] == "cancelled"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "wait?timeout=20", 200), ("POST", "cancel", 202)]
)
def test_a_long_wait_sends_spaces_until_its_json_comes(
    ada: Client, services: Services, method: str, path: str, status: int
) -> None:
    _, run = new_run(ada)
    attempt = Attempt(services, run["id"])
    body = {"wait": 20} if method == "POST" else None
    with httpx.Client.stream(ada, method, f"/api/runs/{run['id']}/{path}", json=body) as answer:
        pieces = answer.iter_raw()
        first = [next(pieces), next(pieces)]
        attempt.say("Hello")
        attempt.finish(RunStatus.CANCELLED)
        rest = b"".join(pieces)

    assert (answer.status_code, answer.headers["Content-Type"], first) == (status, JSON, [b" ", b" "])
    assert json.loads(b"".join([*first, rest]))["run"]["status"] == "cancelled"


def test_a_wait_that_fails_once_its_answer_has_begun_has_a_problem_document_for_its_body(ada: Client) -> None:
    thread, run = new_run(ada)
    with httpx.Client.stream(ada, "GET", f"/api/runs/{run['id']}/wait?timeout=20") as answer:
        pieces = answer.iter_raw()
        first = next(pieces)
        ada.delete(f"/api/threads/{thread['id']}").raise_for_status()
        body = json.loads(first + b"".join(pieces))

    assert (answer.status_code, body["status"], "run" in body) == (200, 404, False)
    assert body["type"].startswith("urn:branchline:problem:")


def test_a_wait_whose_client_goes_away_ends(ada: Client) -> None:
    _, run = new_run(ada)
    until(lambda: figure(ada, "open_streams") == 0)
    with httpx.Client.stream(ada, "GET", f"/api/runs/{run['id']}/wait?timeout=60") as answer:
        pieces = answer.iter_raw()  # httpx closes the answer where this is dropped
        assert next(pieces) == b" "
        until(lambda: figure(ada, "open_streams") == 1)
    until(lambda: figure(ada, "open_streams") == 0)


def test_a_reader_that_goes_away_is_noticed_at_the_next_heartbeat(ada: Client) -> None:
    thread, _ = new_run(ada)
    until(lambda: figure(ada, "open_streams") == 0)
    with ada.stream(f"/api/threads/{thread['id']}/events"):
        assert figure(ada, "open_streams") == 1
    until(lambda: figure(ada, "open_streams") == 0, within=40 * HEARTBEAT)


def test_head_opens_no_stream(ada: Client) -> None:
    thread, run = new_run(ada)
    until(lambda: figure(ada, "open_streams") == 0)
    for path in (f"/api/threads/{thread['id']}/events", f"/api/runs/{run['id']}/events", "/api/events"):
        assert ada.head(path).status_code == 200
    assert figure(ada, "open_streams") == 0


def test_a_stopping_process_ends_its_streams(environment: Environment) -> None:
    with web_only(environment()) as stack, closing(stack.client()) as client:
        thread, run = new_run(client)
        paths = (f"/api/threads/{thread['id']}/events", f"/api/runs/{run['id']}/events", "/api/events")
        with ExitStack() as open_streams:
            readers = [threaded(open_streams.enter_context(client.stream(path))) for path in paths]
            stack.processes["web"].terminate()
            for remaining in readers:
                assert types(remaining()) in ([], ["run.queued"])
        assert stack.processes["web"].wait(15) == 0


def test_metrics_show_runs_and_how_fast_deltas_travel(ada: Client, services: Services) -> None:
    _, run = new_run(ada)
    with ada.stream(f"/api/runs/{run['id']}/events") as events:
        assert next(events).type == "run.queued"
        attempt = Attempt(services, run["id"])
        assert next(events).type == "run.started"
        message = attempt.begin_message()
        assert next(events).type == "message.created"
        attempt.write(message, "x")
        assert next(events).type == "message.delta"
        attempt.finish()
    new_run(ada)  # which waits

    assert figure(ada, "runs", pool="python", status="success", worker="echo") >= 1
    assert figure(ada, "claims_total", pool="python", worker="echo") >= 1
    assert figure(ada, "delta_latency_seconds_count") >= 1
    assert figure(ada, "queue_age_seconds", pool="python") >= 0


def test_a_remote_worker_receives_cancel_and_then_end(ada: Client, services: Services, stack: Stack) -> None:
    _, run = new_run(ada)
    attempt = Attempt(services, run["id"])
    with worker_client(stack, services, attempt) as worker, worker.stream("/commands") as commands:
        ada.post(f"/api/runs/{run['id']}/cancel")
        assert next(commands).type == "cancel"
        attempt.finish(RunStatus.CANCELLED)
        assert types(list(commands)) == ["end"]


def test_lines_of_a_remote_worker_are_handled_while_it_still_sends(
    ada: Client, services: Services, stack: Stack
) -> None:
    _, run = new_run(ada)
    attempt = Attempt(services, run["id"])
    inbox = (attempt.run.thread_id, run["id"], attempt.run.attempt)

    def lines() -> Iterator[bytes]:
        yield b'{"type":"delta","te'
        yield b'xt":"one"}\n{"type":"delta","text":"two"}\n'
        taken: list[bytes] = []
        until(lambda: taken.extend(services.inbox.pop(*inbox, 10)) or len(taken) == 2)
        yield b'{"type":"done"}'

    with worker_client(stack, services, attempt) as worker:
        answer = worker.post("/events", content=lines(), headers={"Content-Type": "application/x-ndjson"})

    assert (answer.status_code, answer.json()) == (202, {"accepted": 3})
    assert services.inbox.pop(*inbox, 10) == [b'{"type":"done"}']


@pytest.mark.parametrize("body", [b'5\r\n{"a"', b"nonsense\r\n", b"2\r\n{}xx\r\n0\r\n\r\n"])
def test_a_truncated_or_malformed_body_is_a_bad_request(ada: Client, stack: Stack, body: bytes) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in ada.cookies.items())
    head = f"POST /api/threads HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        status = connection.makefile("rb").readline()

    assert status.split()[1] == b"400"


@contextmanager
def worker_client(stack: Stack, services: Services, attempt: Attempt) -> Iterator[Client]:
    token = run_token(services.settings, attempt.run.id, attempt.run.attempt)
    with Client(f"{stack.url}/worker/runs/{attempt.run.id}") as client:
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def in_background(call: Callable[[], Any]) -> Callable[[], Any]:
    """Start ``call`` in a thread; calling the result waits for its answer."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    thread.start()

    def wait() -> Any:
        thread.join(30)
        return answers[0]

    return wait


def threaded(events: Iterator[Received]) -> Callable[..., list[Received]]:
    """Read ``events`` to their end in a thread; calling the result waits for the end."""
    seen: list[Received] = []
    thread = threading.Thread(target=lambda: seen.extend(events), daemon=True)
    thread.start()

    def wait(within: float = 30) -> list[Received]:
        thread.join(within)
        assert not thread.is_alive(), f"the stream has not ended; seen: {types(seen)}"
        return seen

    return wait
