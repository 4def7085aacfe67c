"""The life of a worker: changes of its folder are taken up while it runs, and no run notices."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runtime.registry.digest import FolderDigest, digest_of
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.databases import ON_BOTH_DATABASES
from tests.support.node_sdk import needs_node

PYTHON = """import pathlib
ANSWER = pathlib.Path(__file__).with_name("answer").read_text()
def run(run):
    if run.args == "twice":
        first = run.once("first", lambda: ANSWER)
        if run.confirm("Go on?"):
            return f"{first} {ANSWER}"
    if run.args:
        run.inbox()
        while not pathlib.Path(run.args).exists():
            import time
            time.sleep(0.02)
    return ANSWER + pathlib.Path(__file__).with_name("answer").read_text()
"""
MANIFEST = 'id = "{id}"\nname = "Mine"\ntype = "python"\nentrypoint_path = "worker.py"\n'
READS = '[sandbox]\nread = ["{elsewhere}"]\n'
SCHEMA = (
    '{{"type": "object", "properties": {{"{field}": {{"type": "string"}}}}, "additionalProperties": false}}'
)
WITHOUT_FOLDERS = {"web": {"WORKERS_PATH": ""}, "reaper": {"WORKERS_PATH": ""}}
WITHIN = 40


class Author:
    """Who changes the worker ``mine``."""

    def __init__(self, folder: Path, elsewhere: Path) -> None:
        self.folder = folder
        self._manifest = MANIFEST.format(id=folder.name) + READS.format(elsewhere=elsewhere)

    def write(self, answer: str, code: str = PYTHON, manifest: str = "") -> str:
        """A version that answers that; its digest."""
        self.folder.mkdir(exist_ok=True, parents=True)
        (self.folder / "worker.toml").write_text(manifest + self._manifest)
        (self.folder / "answer").write_text(answer)
        (self.folder / "worker.py").write_text(code)
        return digest_of(self.folder)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that runs may look into."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    stack_redis: RedisServer,
    stack_database_url: str,
    workers: Path,
    elsewhere: Path,
) -> Iterator[Stack]:
    """Web has none of the folders."""
    home = tmp_path_factory.mktemp("stack")
    Author(workers / "mine", elsewhere).write("zero")
    (home / "tmp").mkdir()
    settings = {
        "WORKERS_PATH": str(workers),
        "TMPDIR": str(home / "tmp"),
        "BRANCHLINE_POOL_SETTLE": "0.2",
        "BRANCHLINE_POOL_SLOTS": "4",
        "BRANCHLINE_POOL_RENEW": "1",
        "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
    }
    urls = stack_database_url, stack_redis.url
    with Stack(home, *urls, apart=WITHOUT_FOLDERS, from_python=True, **settings) as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with_account = stack.client()
    yield with_account
    with_account.close()


@pytest.fixture
def author(workers: Path, elsewhere: Path) -> Author:
    return Author(workers / "mine", elsewhere)


def described(client: Client, worker_id: str = "mine") -> dict[str, Any] | None:
    answer = client.get(f"/api/workers/{worker_id}")
    return answer.json()["worker"] if answer.status_code == 200 else None


def take_up(client: Client, digest: str) -> None:
    """Wait until the pool has taken up that version, and has no other one."""
    until(
        lambda: [version["digest"] for version in (described(client) or {}).get("versions", ())] == [digest],
        WITHIN,
        f"version {digest}",
    )


def ask(client: Client, worker_id: str = "mine", **body: Any) -> dict[str, Any]:
    asked = client.ask(client.thread(), "Hello", worker_id=worker_id, **body)
    return asked["runs"][0]  # type: ignore[no-any-return]


def answered(client: Client, run: dict[str, Any]) -> tuple[str, str]:
    """What a run answers, and the version that it names."""
    ended = client.wait(run, WITHIN)
    assert ended["run"]["status"] == "success", ended["run"]["error"]
    texts = [message["content"] for message in ended["messages"] if message["type"] == "text"]
    return "".join(texts), ended["run"]["worker_digest"]


@pytest.mark.slow
@ON_BOTH_DATABASES
def test_a_worker_that_changes_twenty_times_under_load_fails_no_run(
    stack: Stack, client: Client, author: Author
) -> None:
    """Each run is executed by one version from its beginning to its end, and names that."""
    versions = {author.write("0"): "0"}

    def taken_up() -> bool:
        return f"gets the version {list(versions)[-1][:12]}" in stack.log("pool python")

    until(taken_up, WITHIN)
    done = threading.Event()

    def load() -> list[tuple[str, str]]:
        with closing(stack.client()) as another:
            return [answered(another, ask(another)) for _ in iter(done.is_set, True)]

    with ThreadPoolExecutor(2) as loads:
        loading = [loads.submit(load) for _ in range(2)]
        try:
            for number in range(1, 21):
                versions[author.write(str(number))] = str(number)
                until(taken_up, WITHIN, f"version {number}")
        finally:
            done.set()
    given = [one for of_thread in loading for one in of_thread.result()]

    assert len({digest for _, digest in given}) > 10
    assert all(text == 2 * versions[digest] for text, digest in given)


def test_a_run_in_flight_ends_on_the_version_that_it_began_with(
    client: Client, author: Author, elsewhere: Path
) -> None:
    old = author.write("old")
    take_up(client, old)
    go = elsewhere / "go"
    waits = ask(client, args=str(go))
    until(lambda: client.run(waits)["status"] == "running", WITHIN)

    new = author.write("new")
    take_up(client, new)
    assert answered(client, ask(client)) == ("newnew", new)
    go.touch()
    assert answered(client, waits) == ("oldold", old)
    go.unlink()


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"code": "import nothing_like_this"}, "No module named 'nothing_like_this'"),
        ({"manifest": "colour = "}, "is not TOML"),
        ({"manifest": 'env = ["SURELY_NOT_SET"]\n'}, "SURELY_NOT_SET is not set"),
        ({"manifest": 'config_schema_path = "gone.json"\n'}, "does not exist"),
    ],
)
def test_a_broken_change_keeps_the_version_before_and_says_why(
    stack: Stack, client: Client, author: Author, broken: dict[str, str], why: str
) -> None:
    good = author.write("good")
    take_up(client, good)

    author.write("bad", **broken)
    rejected = until(lambda: (described(client) or {}).get("rejected"), WITHIN, "the change is rejected")

    assert why in rejected
    assert why in stack.log("pool python")
    assert (described(client) or {})["available"]
    assert answered(client, ask(client)) == ("goodgood", good)

    mended = author.write("mended")
    take_up(client, mended)
    assert (described(client) or {})["rejected"] is None


@needs_node
def test_a_broken_change_of_a_worker_in_javascript_keeps_the_version_before(
    stack: Stack, client: Client, workers: Path
) -> None:
    folder = workers / "script"
    folder.mkdir()
    manifest = 'id = "script"\nname = "Script"\ntype = "node"\nentrypoint_path = "worker.mjs"\n'
    (folder / "worker.toml").write_text(manifest)
    good = "export default () => 'good';\n"
    (folder / "worker.mjs").write_text(good)
    stack.start("pool node")
    until(lambda: (described(client, "script") or {}).get("available"), WITHIN, "the worker")
    try:
        for broken, why in {
            f"{good}function (;\n": "(worker.mjs, line 2)",
            f"import './gone.js';\n{good}": "Cannot find module 'gone.js'",
            f"{good}throw new Error('no key');\n": "Error: no key",
        }.items():
            (folder / "worker.mjs").write_text(broken)
            until(lambda why=why: why in str((described(client, "script") or {})["rejected"]), WITHIN, why)
            assert (described(client, "script") or {})["available"]
        assert answered(client, ask(client, "script"))[0] == "good"

        (folder / "worker.mjs").write_text("export default () => 'mended';\n")
        until(lambda: answered(client, ask(client, "script"))[0] == "mended", WITHIN, "the mended one")
        until(lambda: (described(client, "script") or {})["rejected"] is None, WITHIN, "nothing is rejected")
    finally:
        stack.kill("pool node", signal.SIGTERM)
        shutil.rmtree(folder)


def test_a_worker_that_is_added_is_there_and_one_that_is_removed_is_not(
    client: Client, workers: Path, elsewhere: Path
) -> None:
    another = Author(workers / "another", elsewhere)
    digest = another.write("hi")
    until(lambda: described(client, "another"), WITHIN, "the new worker")
    assert answered(client, ask(client, "another")) == ("hihi", digest)

    for path in another.folder.iterdir():
        path.unlink()
    another.folder.rmdir()
    until(lambda: described(client, "another") is None, WITHIN, "it is gone")
    refused = client.post("/api/runs", json={"worker_id": "another", "messages": []})
    assert refused.status_code == 422


def test_a_config_is_checked_again_by_the_version_that_executes_the_run(
    stack: Stack, client: Client, author: Author
) -> None:
    def fields(field: str) -> str:
        (author.folder / "schema.json").write_text(SCHEMA.format(field=field))
        digest = author.write("x", manifest='config_schema_path = "schema.json"\n')
        take_up(client, digest)
        return digest

    fields("tone")
    held = ask(client, args="twice", config={"tone": "kind"})
    until(lambda: client.run(held)["status"] == "waiting", WITHIN)
    fields("colour")
    client.post(f"/api/runs/{held['id']}/answer", json={"answer": "yes"})

    ended = client.wait(held, WITHIN)["run"]
    assert ended["status"] == "error"
    assert ended["error"]["code"] == "config_invalid"
    assert "tone" in ended["error"]["message"]
    (author.folder / "schema.json").unlink()
    take_up(client, author.write("after"))


@pytest.fixture
def rolling(
    stack: Stack, client: Client, author: Author, tmp_path: Path, elsewhere: Path
) -> Iterator[Author]:
    """A second process of the pool, which has another version of ``mine`` and a worker that is new."""
    take_up(client, author.write("old"))
    later = Author(tmp_path / "mine", elsewhere)
    later.write("new")
    Author(tmp_path / "newcomer", elsewhere).write("hi")
    stack.start("pool python", "second", WORKERS_PATH=str(tmp_path))
    until(lambda: described(client, "newcomer"), WITHIN, "the second process")
    yield later
    stack.kill("second", signal.SIGTERM)


@pytest.mark.slow
def test_while_pools_are_replaced_each_run_finds_a_process_that_has_its_worker(
    client: Client, author: Author, rolling: Author
) -> None:
    versions = {digest_of(author.folder): "oldold", digest_of(rolling.folder): "newnew"}
    shown = described(client)
    assert shown is not None and {version["digest"] for version in shown["versions"]} == set(versions)

    runs = [ask(client, worker_id) for _ in range(12) for worker_id in ("mine", "newcomer")]
    answers = [answered(client, run) for run in runs]

    assert all(text == versions[digest] for text, digest in answers[::2])
    assert {text for text, _ in answers[1::2]} == {"hihi"}
    assert all(client.run(run)["failures"] == 0 for run in runs)


def test_what_was_saved_is_read_by_the_version_that_has_saved_it(
    client: Client, author: Author, rolling: Author
) -> None:
    """Whichever process is asked."""
    for _ in range(4):
        run = ask(client, args="twice")
        until(lambda run=run: client.run(run)["status"] == "waiting", WITHIN)
        saved_by = client.run(run)["worker_digest"]
        client.post(f"/api/runs/{run['id']}/answer", json={"answer": "yes"})
        text, digest = answered(client, run)
        first, again = text.split()
        assert (first, digest) == (again, saved_by)


def test_copies_are_removed_once_no_run_needs_them(stack: Stack, client: Client, author: Author) -> None:
    take_up(client, author.write("one"))
    take_up(client, author.write("two"))

    def copies() -> list[Path]:
        return list(Path(stack.environ["TMPDIR"]).glob("branchline-runs-*/versions/mine-*"))

    until(lambda: len(copies()) == 1, WITHIN, "one copy")


def test_the_digest_of_a_folder_follows_each_change(tmp_path: Path) -> None:
    folder = FolderDigest(tmp_path)
    for content in ("a", "b", "b", "c"):
        (tmp_path / "worker.py").write_text(content)
        assert folder.now() == digest_of(tmp_path)
