"""The registry: what a folder must have to be a worker, and what is said of one that has not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Invalid, UnknownWorker, WorkerInvalid
from runtime.registry import Manifest, Worker, WorkerType, discover, load
from runtime.registry.manifest import Dialect, HttpRules, WindowRules
from runtime.settings import CHECKOUT

PYTHON = 'id = "w"\nname = "W"\ntype = "python"\nentrypoint_path = "w.py"\n'
EXEC = 'id = "w"\nname = "W"\ntype = "exec"\ncommand = ["cat", "-u"]\n'
HTTP = 'id = "w"\nname = "W"\ntype = "http"\nurl = "http://localhost:9000/run"\n'

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a worker folder: its worker.toml and further files."""

    def make(manifest: str, files: dict[str, str] | None = None, name: str = "w") -> Path:
        folder = tmp_path / "workers" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "worker.toml").write_text(manifest)
        for path, content in {"w.py": "def run(run): ...", **(files or {})}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)
        return folder

    return make


def test_the_projects_own_workers_are_all_usable() -> None:
    rooms = ("workers", "tests/workers", "tests/more_workers")
    registry = discover([CHECKOUT / room for room in rooms])
    assert dict(registry.broken) == {}
    assert set(registry.workers) >= {"echo", "openai_worker", "anthropic_worker", "fake", "shell"}
    assert list(registry.workers) == sorted(registry.workers)


def test_what_is_left_out_has_a_default(make: Make) -> None:
    folder = make(PYTHON)
    worker = load(folder)
    assert worker.type is WorkerType.PYTHON
    assert (worker.id, worker.name, worker.description, worker.pool) == ("w", "W", "", "python")
    assert worker.entrypoint == folder / "w.py"
    assert worker.enabled and worker.command == () and worker.url is None
    assert worker.timeout_seconds is worker.max_attempts is worker.max_running is worker.history is None
    assert worker.limits.memory_bytes is worker.limits.open_files is None
    assert worker.check_config({"anything": 1}) == {"anything": 1}


def test_a_web_service_says_how_it_is_reached(make: Make) -> None:
    table = '[http]\nconnect_timeout_seconds = 3\nidle_timeout_seconds = 60\nsecret = "KEY"\n'
    assert load(make(HTTP)).http == HttpRules(10.0, None, None)
    assert load(make(f'{HTTP}env = ["KEY"]\n{table}')).http == HttpRules(3.0, 60.0, "KEY")
    with pytest.raises(WorkerInvalid, match="add KEY there"):
        load(make(f"{HTTP}{table}"))
    with pytest.raises(WorkerInvalid, match="type http only"):
        load(make(f"{EXEC}[http]\n"))
    assert load(make(f'{HTTP}[http]\ndialect = "agent_service"\n')).http.dialect is Dialect.AGENT_SERVICE
    with pytest.raises(WorkerInvalid, match="dialect: must be one of: worker, agent_service"):
        load(make(f'{HTTP}[http]\ndialect = "klingon"\n'))


def test_the_url_of_a_web_service_may_begin_with_a_variable_of_the_pool(make: Make) -> None:
    manifest = HTTP.replace("http://localhost:9000", "${AGENTS}")
    worker = load(make(f'{manifest}env = ["AGENTS"]\n'))
    assert worker.url_in({"AGENTS": "http://agents:8052/v1/"}) == "http://agents:8052/v1/run"
    assert worker.unavailable({"AGENTS": "http://agents:8052"}) is None
    assert worker.unavailable({}) == "AGENTS is not set; set it where the pool runs"
    for wrong in ("agents:8052", "file:///etc", "http://"):
        assert "AGENTS does not begin a URL" in str(worker.unavailable({"AGENTS": wrong}))
    with pytest.raises(WorkerInvalid, match="add AGENTS there"):
        load(make(manifest))
    for url in ("${AGENTS}x/run", "${A B}/run", "http://host/${AGENTS}"):
        with pytest.raises(WorkerInvalid, match="url: may have one variable, at its beginning"):
            load(make(f'{HTTP.replace("http://localhost:9000/run", url)}env = ["AGENTS"]\n'))


def test_a_window_is_a_table_of_its_own_and_stands_in_for_history(make: Make) -> None:
    assert load(make(PYTHON)).window is None
    assert load(make(PYTHON)).window_size(10) == 10
    assert load(make(f"{PYTHON}history = 3\n")).window_size(10) == 3
    assert load(make(f"{PYTHON}[window]\n")).window == WindowRules(None)
    worker = load(make(f"{PYTHON}[window]\nmessages = 25\n"))
    assert (worker.window, worker.window_size(10)) == (WindowRules(25), 25)
    worker = load(make(f'{PYTHON}[window]\nsummary = "scribe"\n'))
    assert (worker.window, worker.summary_worker) == (WindowRules(None, "scribe"), "scribe")
    for wrong in ("messages = 0", "messages = 2.5", "turns = 3", 'summary = "No id"'):
        with pytest.raises(WorkerInvalid, match=r"window\."):
            load(make(f"{PYTHON}[window]\n{wrong}\n"))
    with pytest.raises(WorkerInvalid, match="history: is not allowed beside window"):
        load(make(f"{PYTHON}history = 3\n[window]\n"))


def test_everything_can_be_set(make: Make) -> None:
    worker = load(
        make(
            EXEC
            + 'description = "D"\npool = "gpu"\ntimeout_seconds = 2.5\nmax_attempts = 2\nhistory = 10\n'
            + "max_running = 4\n"
            + 'env = ["A", "B?"]\nenabled = false\n[limits]\nmemory_bytes = 1_000_000_000\nopen_files = 64\n'
        )
    )
    assert worker.command == ("cat", "-u")
    assert (worker.description, worker.pool, worker.timeout_seconds) == ("D", "gpu", 2.5)
    assert (worker.max_attempts, worker.max_running, worker.history) == (2, 4, 10)
    assert (worker.env, worker.optional_env) == (("A",), ("B",))
    assert (worker.limits.memory_bytes, worker.limits.open_files) == (1_000_000_000, 64)
    assert not worker.enabled


def test_presets_are_configurations_that_fit_the_schema(make: Make) -> None:
    folder = make(PYTHON + 'config_schema_path = "s.json"\n[presets."Very loud"]\nloudness = 3\n')
    schema = {"type": "object", "properties": {"loudness": {"type": "integer", "maximum": 3}}}
    (folder / "s.json").write_text(json.dumps(schema))
    worker = load(folder)
    assert worker.presets == {"Very loud": {"loudness": 3}}
    assert Manifest.decode(worker.encode(), worker.digest).presets == worker.presets

    (folder / "s.json").write_text(json.dumps({**schema, "properties": {"loudness": {"maximum": 2}}}))
    with pytest.raises(WorkerInvalid, match="its preset 'Very loud' does not fit its config schema"):
        load(folder)


@pytest.mark.parametrize(
    ("named", "role"),
    [
        ("executor", "executor"),
        ("AGENT_EXECUTOR", "executor"),
        ("LLM_PLANNER", "planner"),
        ("Supervisor", "supervisor"),
        ("THOUGHT", "thought"),
        ("CREW", "crew"),
        ("OTHER", "other"),
    ],
)
def test_an_agent_has_a_role_by_any_of_its_names(make: Make, named: str, role: str) -> None:
    worker = load(make(f'{PYTHON}role = "{named}"\n'))
    assert worker.role == role
    assert Manifest.decode(worker.encode(), worker.digest).role == role


def test_every_worker_has_one_role_and_one_style(make: Make) -> None:
    worker = load(make(PYTHON))
    assert (worker.role, worker.style) == ("other", "structured_chat")
    assert load(make(PYTHON + 'style = "TOOL_CALLING"\n')).style == "tool_calling"


def test_an_http_worker_needs_its_url_only(make: Make) -> None:
    worker = load(make(HTTP))
    assert worker.url == "http://localhost:9000/run"
    assert worker.program is None and worker.unavailable({}) is None


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ("id = ", "is not TOML"),
        ("", "id: Missing data for required field; name: Missing"),
        (PYTHON + 'colour = "red"', "colour: Unknown field"),
        (PYTHON + "[limits]\nthreads = 3", "limits.threads: Unknown field"),
        (PYTHON.replace('"w"', '"W!"'), "id: must be 1 to 64 of a-z"),
        (PYTHON.replace('"w"', '"w\\n"'), "id: must be 1 to 64 of a-z"),
        (PYTHON.replace('"python"', '"perl"'), "type: Must be one of: python, node, exec, http"),
        (PYTHON + 'role = "boss"', "must be one of: executor, planner, supervisor, thought, crew, other"),
        (PYTHON + 'role = "MESSAGE"', "role: must be one of"),
        (PYTHON + 'style = "react"', "style: must be one of: tool_calling, structured_chat"),
        (PYTHON + "role = 1", "role: Not a valid string"),
        (PYTHON + 'command = ["x"]', "command: is not allowed for a worker of type python"),
        (
            PYTHON.replace("entrypoint_path", "command").replace('"w.py"', '["w"]'),
            "entrypoint_path: is missing",
        ),
        (PYTHON.replace("w.py", "gone.py"), "'gone.py' does not exist"),
        (PYTHON.replace("w.py", "../other.py"), "is outside the worker's folder"),
        (PYTHON.replace("w.py", "/etc/passwd"), "is outside the worker's folder"),
        (PYTHON + 'config_schema_path = "../../s.json"', "is outside the worker's folder"),
        (PYTHON + 'config_schema_path = "w.py"', "is not JSON"),
        (PYTHON + 'env = ["BRANCHLINE_SECURITY_SECRET_KEY"]', "workers do not get those"),
        (PYTHON + 'env = ["A B"]', "name of an environment variable"),
        (PYTHON + 'pool = "a b"', "pool: must be"),
        (PYTHON + "timeout_seconds = 0", "timeout_seconds:"),
        (PYTHON + "max_attempts = 0", "max_attempts:"),
        (PYTHON + "max_running = 0", "max_running:"),
        (PYTHON + 'enabled = "yes"', "enabled: Not a valid boolean"),
        (EXEC.replace('["cat", "-u"]', "[]"), "command:"),
        (EXEC.replace('"cat"', '"./gone.sh"'), "'./gone.sh' does not exist"),
        (EXEC.replace('"cat"', '"../up.sh"'), "is outside the worker's folder"),
        (HTTP.replace("http://", "ftp://"), "url: Not a valid URL"),
        (EXEC + 'python = "p"', "python: is allowed for a worker of type python only"),
        (PYTHON + 'python = "p"\nrequirements = "w.py"', "requirements: is not allowed beside python"),
        (PYTHON + 'requirements = "gone.txt"', "'gone.txt' does not exist"),
    ],
)
def test_a_broken_folder_is_told_what_is_wrong_and_skipped(make: Make, manifest: str, words: str) -> None:
    folder = make(manifest)
    make(PYTHON.replace('"w"', '"good"'), name="x")
    registry = discover([folder.parent])
    assert list(registry.workers) == ["good"]
    assert words in registry.broken[str(folder)]
    with pytest.raises(WorkerInvalid):
        load(folder)


def test_a_link_may_not_lead_out_either(make: Make, tmp_path: Path) -> None:
    folder = make(PYTHON)
    (folder / "w.py").unlink()
    (tmp_path / "secret.py").touch()
    (folder / "w.py").symlink_to(tmp_path / "secret.py")
    with pytest.raises(WorkerInvalid, match="is outside"):
        load(folder)


def test_of_two_workers_with_one_id_the_first_counts(make: Make, tmp_path: Path) -> None:
    first = make(PYTHON, name="a")
    second = make(PYTHON, name="b")
    registry = discover([first.parent])
    assert registry.get("w").folder == first
    assert f"already used by {first}" in registry.broken[str(second)]


def test_folders_that_are_no_worker_are_passed_over(make: Make) -> None:
    folder = make(PYTHON)
    (folder.parent / "notes").mkdir()
    (folder.parent / ".hidden").mkdir()
    (folder.parent / ".hidden" / "worker.toml").touch()
    (folder.parent / "README").touch()
    registry = discover([folder.parent, folder.parent])
    assert list(registry.workers) == ["w"] and not registry.broken


def test_a_folder_of_workers_that_is_not_there_is_told(make: Make, tmp_path: Path) -> None:
    folder = make(PYTHON)
    registry = discover([tmp_path / "gone", folder])
    assert "no such folder" in registry.broken[str(tmp_path / "gone")]
    assert "the folder that contains it" in registry.broken[str(folder)]


def test_an_unknown_worker_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownWorker, match="no worker 'nobody'"):
        discover([tmp_path]).get("nobody")


def test_a_worker_without_what_it_needs_is_unavailable(make: Make) -> None:
    worker = load(make(EXEC + 'env = ["ONE", "TWO", "THREE?"]'))
    path = {"PATH": os.environ["PATH"]}
    assert worker.unavailable(path) == "ONE and TWO are not set; set it where the pool runs"
    assert worker.unavailable({**path, "ONE": "1", "TWO": ""}) == "TWO is not set; set it where the pool runs"
    assert worker.unavailable({**path, "ONE": "1", "TWO": "2"}) is None
    assert (
        worker.unavailable({"PATH": "", "ONE": "1", "TWO": "2"})
        == "the program 'cat' is not on the PATH of the pool"
    )


def test_a_disabled_worker_is_unavailable(make: Make) -> None:
    assert "disabled" in (load(make(PYTHON + "enabled = false")).unavailable({}) or "")


def test_the_digest_follows_the_files(make: Make) -> None:
    folder = make(
        PYTHON, {"lib/a.py": "1", "__pycache__/x.pyc": "1", ".cache": "1", "node_modules/m.js": "1"}
    )
    before = load(folder).digest
    for ignored in ("__pycache__/x.pyc", ".cache", "node_modules/m.js"):
        (folder / ignored).write_text("2")
    assert load(folder).digest == before
    (folder / "lib/a.py").write_text("2")
    changed = load(folder).digest
    assert changed != before
    (folder / "lib/a.py").rename(folder / "lib/b.py")
    assert load(folder).digest != changed


def test_the_digest_does_not_wait_for_what_is_no_file(make: Make) -> None:
    folder = make(PYTHON)
    os.mkfifo(folder / "pipe")
    assert load(folder).digest


def test_large_files_count_by_size_and_ends(make: Make) -> None:
    folder = make(PYTHON)
    with (folder / "model.bin").open("wb") as file:
        file.truncate(40 << 20)
    before = load(folder).digest
    with (folder / "model.bin").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    assert load(folder).digest != before


# ── config ──────────────────────────────────────────────────────────────────


def with_schema(make: Make, schema: Any) -> Worker:
    return load(make(PYTHON + 'config_schema_path = "s.json"', {"s.json": json.dumps(schema)}))


STRICT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "default": 3},
        "tags": {"type": "array", "items": {"type": "string"}, "default": []},
        "inner": {"type": "object", "properties": {"x": {"default": 1}, "y": {"type": "string"}}},
    },
}


def test_defaults_are_filled_in(make: Make) -> None:
    worker = with_schema(make, STRICT)
    given = {"inner": {"y": "s"}}
    assert worker.check_config(given) == {"size": 3, "tags": [], "inner": {"x": 1, "y": "s"}}
    assert given == {"inner": {"y": "s"}}
    worker.check_config({})["tags"].append("mine")
    assert worker.check_config({})["tags"] == []


def test_each_mistake_has_its_path(make: Make) -> None:
    worker = with_schema(make, STRICT)
    with pytest.raises(Invalid) as caught:
        worker.check_config({"size": 0, "tags": ["a", 5], "inner": {"y": 1}, "more": 1})
    paths = {error.path for error in caught.value.errors}
    assert paths == {("config",), ("config", "size"), ("config", "tags", 1), ("config", "inner", "y")}


def test_older_drafts_are_judged_by_their_own_rules(make: Make) -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"n": {"minimum": 1, "exclusiveMinimum": True}},
    }
    worker = with_schema(make, schema)
    with pytest.raises(Invalid):
        worker.check_config({"n": 1})
    assert worker.check_config({"n": 2}) == {"n": 2}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ([], "must be a JSON object"),
        ({"type": "strnig"}, "not valid JSON Schema at type"),
        ({"$schema": "https://example.com/mine"}, "unknown draft"),
        ({"$schema": 5}, "unknown draft"),
        ({"$ref": "https://example.com/schema"}, "is not in it"),
        ({"$ref": "#/$defs/gone"}, "is not in it"),
        ({"$ref": "other.json"}, "is not in it"),
    ],
)
def test_a_schema_that_cannot_be_used_breaks_the_folder(make: Make, schema: Any, words: str) -> None:
    with pytest.raises(WorkerInvalid) as caught:
        with_schema(make, schema)
    assert words in str(caught.value)


def test_a_schema_may_refer_to_itself(make: Make) -> None:
    tree = {
        "type": "object",
        "properties": {"inner": {"$ref": "#/$defs/tree"}},
        "additionalProperties": False,
    }
    worker = with_schema(make, {"$ref": "#/$defs/tree", "$defs": {"tree": tree}})
    assert worker.check_config({"inner": {"inner": {}}}) == {"inner": {"inner": {}}}
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"inner": deep}
    with pytest.raises(Invalid):
        worker.check_config(deep)


def test_a_folder_that_cannot_be_read_breaks_no_other(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = make(PYTHON, {"w.py": ""}, "closed")
    make(PYTHON, {"w.py": ""}, "open")

    def refuse(act: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, *args: Any, **kwargs: Any) -> Any:
            if path.parent == closed:  # root may read it all the same
                raise PermissionError(13, "Permission denied", str(path))
            return act(path, *args, **kwargs)

        return call

    for name in ("exists", "read_text", "open"):
        monkeypatch.setattr(Path, name, refuse(getattr(Path, name)))
    found = discover([closed.parent])

    assert [worker.folder.name for worker in found.workers.values()] == ["open"]
    assert "Permission denied" in found.broken[str(closed)]
