"""Whatever a client sends, it gets one clear answer, and the log stays readable."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from runtime.store.page import encode_cursor
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.sse import parse
from runtime.testing.stack import Stack
from tests.support.databases import ON_BOTH_DATABASES
from tests.support.web_process import web_only

DEEP = b"[" * 10_000 + b"]" * 10_000
BODIES = {
    b"{": 400,
    b"\xff\xfe": 400,
    b'{"title": "\\ud800"}': 400,
    DEEP: 400,
    b'{"metadata": ' + DEEP[9_900:-9_900] + b"}": 422,
    b'{"title": "\\u0000"}': 422,
    b'{"title": ' + b"9" * 5_000 + b"}": 400,
    b"[]": 422,
    b'{"title": "' + b"x" * 11_000_000 + b'"}': 413,
}
EXTREME_TIMES = ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59+00:00")


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    """A web process and nothing else: no run of these tests is executed."""
    folder = tmp_path_factory.mktemp("stack")
    with web_only(Stack(folder, stack_database_url, stack_redis.url, pools=())) as stack:
        yield stack


def test_malformed_bodies_get_problem_documents(client):
    thread = client.thread()

    for body, status in BODIES.items():
        answer = client.patch(f"/api/threads/{thread['id']}", content=body)
        assert answer.status_code == status, (body[:40], answer.status_code, answer.text[:200])
        assert answer.headers["Content-Type"] == "application/problem+json"


@ON_BOTH_DATABASES
def test_a_cursor_with_a_time_beyond_the_calendar_is_refused_or_an_end(client):
    thread = client.thread()

    for time in EXTREME_TIMES:
        answer = client.get("/api/threads", params={"cursor": encode_cursor(time, thread["id"])})
        assert answer.status_code in (200, 422), (time, answer.text)


@ON_BOTH_DATABASES
def test_huge_numbers_can_be_read_again(client):
    for number in ("36893488147419103232", "1e308", "18446744073709551615", "-1e30"):
        made = client.post("/api/threads", content=f'{{"metadata": {{"n": {number}}}}}')
        assert made.status_code == 201, (number, made.text)

    assert client.get("/api/threads").status_code == 200


def test_mistakes_of_users_leave_no_traceback_in_the_log(stack, client):
    client.get(f"/api/threads/{client.thread()['root_state_id']}")
    client.post("/api/runs", json={"worker_id": "nobody"})

    assert "Traceback" not in stack.log("web")


@ON_BOTH_DATABASES
def test_twenty_equal_requests_at_once_make_one_run(stack, client):
    thread = client.thread()
    body = {"worker_id": "echo", "input_state_id": thread["root_state_id"], "args": {"b": 1.5, "a": [2]}}

    def ask(_: int) -> tuple[int, str]:
        with Client(stack.url) as other:
            other.cookies = client.cookies
            answer = other.post(
                f"/api/threads/{thread['id']}/runs", json=body, headers={"Idempotency-Key": "same"}
            )
            return answer.status_code, json.dumps(answer.json(), sort_keys=True)

    with ThreadPoolExecutor(20) as pool:
        answers = Counter(pool.map(ask, range(20)))

    [(status, _)] = answers
    assert status == 202
    assert len(client.get("/api/runs", params={"thread": thread["id"]}).json()["items"]) == 1
    changed = client.post(
        f"/api/threads/{thread['id']}/runs", json={**body, "n": 2}, headers={"Idempotency-Key": "same"}
    )
    assert changed.status_code == 409


@ON_BOTH_DATABASES
@pytest.mark.parametrize(
    "text", ["1.0", "1e300", "-0.0", "12345678901234567890", "0.1", "1", "true", "null", '"1.0"']
)
def test_arguments_are_passed_on_unchanged(client, text):
    thread = client.thread()
    body = f'{{"worker_id": "echo", "input_state_id": "{thread["root_state_id"]}", "args": {text}}}'
    made = client.post(f"/api/threads/{thread['id']}/runs", content=body).json()["runs"][0]

    kept = client.get(f"/api/runs/{made['id']}").json()["run"]["args"]

    assert (type(kept), kept) == (type(json.loads(text)), json.loads(text))


def test_a_body_with_many_errors_is_refused_with_the_first_of_them(client):
    thread = client.thread()
    root = thread["root_state_id"]
    export = {"format": "branchline-thread", "version": 1, "thread": {}, "states": [], "runs": []}
    bodies = {
        f"/api/threads/{thread['id']}/runs": {"input_state_id": root, "messages": [{}] * 50_000},
        f"/api/threads/{thread['id']}/states": {"parent_id": root, "messages": [{"role": 1}] * 1000},
        "/api/threads": {f"{number}": 1 for number in range(20_000)},
        "/api/threads/import": {**export, "states": [{}] * 50_000},
        "/api/auth/login": ["\0"] * 1_500,
    }

    for path, body in bodies.items():
        answer = client.post(path, json=body)
        assert answer.status_code == 422, (path, answer.text[:200])
        assert len(answer.json()["errors"]) <= 100, path


def test_a_body_of_unknown_length_is_refused_over_the_limit(client):
    answer = client.post("/api/threads", content=iter([b" " * (1 << 20)] * 11))

    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b'{"title": "x"}', 201),
        ("multipart/form-data", b'{"title": "x"}', 201),
        ("application/x-www-form-urlencoded", b"title=x", 400),
        ("application/json; charset=utf-16", '{"title": "x"}'.encode("utf-16"), 400),
        ("\xff/\xff", b'{"title": "x"}', 201),
        ("application/json", b'{"title": "w", "title": "x"}', 201),
    ],
)
def test_a_body_is_parsed_as_json_whatever_its_content_type(client, kind, body, status):
    answer = client.post("/api/threads", content=body, headers={"Content-Type": kind.encode("latin-1")})

    assert answer.status_code == status
    if status == 201:
        assert answer.json()["thread"]["title"] == "x"


def test_endless_headers_are_refused(client):
    thread = client.thread()
    body = {"worker_id": "echo", "input_state_id": thread["root_state_id"]}
    runs = f"/api/threads/{thread['id']}/runs"

    for length, status in ((256, 422), (9_000, 431)):
        answer = client.post(runs, json=body, headers={"Idempotency-Key": "k" * length})
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    with client.stream(f"/api/threads/{thread['id']}/events", "9" * 5_000) as events:
        assert [event.type for event in events] == ["reset"]


NO_HTTP = {
    b"GET /api/me?" + b"x" * 5_000 + b" HTTP/1.1\r\n\r\n": 414,
    b"GET /api/me HTTP/9.9\r\n\r\n": 400,
    b"12:00:00 INFO    web: forged\r\n\r\n": 400,
    b"GET /\x0b\x0012:00:00 HTTP/1.1\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\nforged: b\x00\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: a\r\nbad name: b\r\n\r\n": 400,
    b"POST /api/threads HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n": 400,
    b"POST /api/threads HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n": 400,
    b"POST /api/threads HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n": 400,
}


@pytest.mark.parametrize("request_", NO_HTTP, ids=lambda raw: raw[:40].decode("latin-1"))
def test_invalid_http_is_answered_with_a_problem_document(stack, request_):
    head, _, body = raw_answer(stack, request_).partition(b"\r\n\r\n")

    assert int(head.split()[1]) == NO_HTTP[request_], head
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == NO_HTTP[request_]
    # Nothing of the request, nor of the text of an exception.
    assert json.loads(body)["detail"] == json.loads(body)["title"]


@pytest.mark.parametrize("root", ["/static/", "/api/docs/", "/api/workers/", "/"])
def test_a_path_outside_the_static_folder_is_not_found(stack, client, root):
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    ways = ("../", "..%2f", "..%5c", "%2e%2e/", "....//", "%2e%2e%2f", "..;/", "/", "%00/")
    targets = ("config/default.toml", "etc/passwd", "setup.cfg%00.css", "x" * 3_000)

    for way in ways:
        for target in targets:
            path = f"{root}{way * 8}{target}"
            answer = raw_answer(
                stack, f"GET {path} HTTP/1.0\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode()
            )
            assert answer.split()[1] in (b"400", b"404", b"308"), (path, answer[:200])
            assert b"[service]" not in answer and b"root:" not in answer, path


def test_line_breaks_in_a_request_add_no_header_and_no_event(client):
    thread = client.thread()
    forged = "x\r\nForged: yes\r\n\r\nevent: forged\ndata: {}\n\n\u2028event: forged\u0085"
    at = f"/api/threads/{thread['id']}"
    paths = [f"{at}/{rest}" for rest in ("states", "export", "snapshot")]

    for path in (*paths, "/api/threads", "/api/runs", "/nowhere"):
        answer = client.get(path, params=dict.fromkeys(("cursor", "state", "q", "after", "worker"), forged))
        assert "Forged" not in answer.headers
    with httpx.Client.stream(client, "GET", f"{at}/events", params={"after": forged}) as answer:
        assert [event.type for event in parse(answer.iter_raw())] == ["reset"]
    with client.stream(f"{at}/events", after=None) as events:
        changes = {"title": forged, "metadata": {forged: forged}}
        assert client.patch(at, json=changes).status_code == 200
        client.delete(at)
        seen = list(events)
    assert [event.type for event in seen] == ["thread.updated", "thread.deleted"]
    assert seen[0].data["thread"]["title"] == forged


def test_a_request_cannot_forge_a_line_of_the_log(stack, client):
    for request in NO_HTTP:
        raw_answer(stack, request)
    client.get("/%0a12:00:00%20INFO%20%20%20%20web:%20forged%0d%0aforged")

    for line in stack.log("web").splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ +[\w.]+: |  ", line), line


def raw_answer(stack: Stack, request: bytes) -> bytes:
    """What comes back for these very bytes, to the end of the connection."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))
