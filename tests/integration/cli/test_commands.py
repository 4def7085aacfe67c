"""The command line as a user and a script meet it: what is printed, and the exit code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from runtime import settings as settings_module
from runtime.cli import branchline as program
from runtime.cli import up
from runtime.cli.report import TextReport
from runtime.cli.terminal import console
from runtime.model import Role, User
from runtime.registry import discover, load, node
from runtime.settings import CHECKOUT, Settings
from runtime.store import Database, outbox, states, threads, users
from runtime.store import runs as stored
from runtime.testing.ports import free_port
from tests.support.command_line import Command
from tests.support.frameworks import need
from tests.support.node_sdk import needs_node


def printed(result: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(result.stdout)


def test_help_names_every_command_fast(branchline_from_python: Command) -> None:
    took = []
    for _ in range(3):
        before = sum(os.times()[2:4])  # CPU of what has ended below us
        result = branchline_from_python("--help")
        took.append(sum(os.times()[2:4]) - before)
    assert min(took) < 0.5  # 0.1 s; the first compiles
    assert result.returncode == 0
    for name in (
        "up",
        "web",
        "pool",
        "reaper",
        "flower",
        "migrate",
        "check",
        "user",
        "token",
        "chat",
        "kb",
        "runs",
        "doctor",
        "outbox",
        "run",
        "new-worker",
    ):
        assert f"\n  {name} " in result.stdout


COMMANDS = (
    "up|web|pool|reaper|flower|doctor|check|migrate|runs list|runs show|runs cancel|"
    "user add|user password|token create|run|new-worker|chat|kb add|kb search|system check|openapi"
)


@pytest.mark.parametrize("command", COMMANDS.split("|"))
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(program, [*command.split(), "--help"], prog_name="branchline")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: branchline {command}")


BECOMES_GUNICORN = """
import os, sys
from runtime.cli import branchline

os.execv = lambda _, command: print(command[1:3], "sqlalchemy" in sys.modules)
branchline(["web"], standalone_mode=False)
"""


def test_web_imports_no_more_than_it_needs_before_it_becomes_gunicorn(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BECOMES_GUNICORN],
        env={"BRANCHLINE_HOME": str(home)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['-m', 'gunicorn'] False\n"


def test_an_invalid_setting_is_named_in_one_sentence(branchline: Command) -> None:
    result = branchline("check", PORT="many")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "PORT='many' is not a whole number\n"


def test_migrate_reports_up_to_date_when_called_again(branchline: Command) -> None:
    assert branchline("migrate").stdout.startswith("Migrated from nothing to ")
    assert branchline("migrate").stdout.startswith("The database is up to date")


def test_check_lists_the_workers_and_succeeds(branchline: Command) -> None:
    result = branchline("check", "--json")
    assert result.returncode == 0
    assert {"id": "echo", "name": "Echo", "type": "python", "pool": "python", "unavailable": None} in printed(
        result
    )["workers"]


def test_check_names_a_broken_worker_and_fails(branchline: Command, tmp_path: Path) -> None:
    folder = tmp_path / "workers" / "broken"
    folder.mkdir(parents=True)
    (folder / "worker.toml").write_text('id = "broken"\ntype = "python"\n')
    result = branchline("check", WORKERS_PATH=str(folder.parent))
    assert result.returncode == 1
    assert str(folder) in result.stdout.replace("\n", "")


def test_check_names_a_worker_whose_summaries_nobody_makes_and_fails(
    branchline: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "workers" / "agent"
    folder.mkdir(parents=True)
    manifest = 'id = "agent"\nname = "Agent"\ntype = "exec"\ncommand = ["true"]\n[window]\nsummary = "{}"\n'
    for worker_id, code in (("echo", 0), ("nobody", 1)):
        (folder / "worker.toml").write_text(manifest.format(worker_id))
        checked = branchline("check", "--json", WORKERS_PATH=str(folder.parent))
        assert checked.returncode == code
    problem = "its window.summary names the worker 'nobody', which is not there"
    assert printed(checked)["broken"] == {str(folder): problem}


def test_check_imports_each_worker_and_says_what_it_lacks(branchline: Command, tmp_path: Path) -> None:
    def write(worker_id: str, manifest: str, name: str, code: str, mode: int = 0o755) -> None:
        folder = tmp_path / "workers" / worker_id
        folder.mkdir(parents=True)
        (folder / "worker.toml").write_text(f'id = "{worker_id}"\nname = "W"\n{manifest}\n')
        (folder / name).write_text(code)
        (folder / name).chmod(mode)

    python, command = 'type = "python"\nentrypoint_path = "w.py"', 'type = "exec"\ncommand = ["./w.sh"]'
    write("lacks", python, "w.py", "import nothing_like_this\n")
    checked = branchline("check", "--json", WORKERS_PATH=str(tmp_path / "workers"))
    assert (checked.returncode, "'nothing_like_this'" in printed(checked)["failed"]["lacks"]) == (0, True)

    write("wrong", python, "w.py", "def run(run:\n")
    write("closed", command, "w.sh", "#!/bin/sh\n", 0o644)
    write("without", command, "w.sh", "#!/opt/nothing/like/this\n")
    write("unknown", command, "w.sh", "#!/usr/bin/env nothing-like-this\n")
    write("fine", command, "w.sh", "#!/usr/bin/env sh\n")
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    write("threads", python, "w.py", f"{thread}def run(run): ...\n")
    checked = branchline("check", "--json", WORKERS_PATH=str(tmp_path / "workers"))
    failed, notes = printed(checked)["failed"], printed(checked)["notes"]

    assert checked.returncode == 1
    assert "SyntaxError" in failed["wrong"] and "w.py, line 1" in failed["wrong"]
    assert "'w.sh' is not executable" in failed["closed"]
    assert "needs /opt/nothing/like/this" in failed["without"]
    assert "needs 'nothing-like-this'" in failed["unknown"]
    assert not {"fine", "threads"} & failed.keys()
    assert list(notes) == ["threads"] and "Its import starts threads" in notes["threads"]


@needs_node
def test_check_loads_each_worker_in_javascript_and_says_what_it_lacks(
    branchline: Command, tmp_path: Path
) -> None:
    for worker_id, code in {
        "lacks": "import 'nothing-like-this';\n",
        "wrong": "export default (run =>;\n",
        "fine": "",
    }.items():
        folder = tmp_path / "workers" / worker_id
        folder.mkdir(parents=True)
        manifest = f'id = "{worker_id}"\nname = "W"\ntype = "node"\nentrypoint_path = "w.mjs"\n'
        (folder / "worker.toml").write_text(manifest)
        (folder / "w.mjs").write_text(f"{code}export default () => 'x';\n")

    checked = branchline("check", "--json", WORKERS_PATH=str(tmp_path / "workers"))
    failed = printed(checked)["failed"]

    assert checked.returncode == 1
    assert "SyntaxError" in failed["wrong"] and "w.mjs, line 1" in failed["wrong"]
    assert "Cannot find package 'nothing-like-this'" in failed["lacks"]
    assert "fine" not in failed


def test_an_account_and_its_token_are_created_by_command(
    migrated: Command, home: Path, settings: Any
) -> None:
    made = migrated(
        "user", "add", "ada@example.com", "--password", "correct horse", "--name", "Ada", "--json"
    )
    assert printed(made)["user"]["email"] == "ada@example.com"
    secret = migrated("token", "create", "ada@example.com").stdout.strip()
    database = Database(f"sqlite:///{home}/branchline.db", settings.database)
    owner = database.write(users.by_token, secret)
    database.close()
    assert owner is not None and owner.name == "Ada"


def test_a_password_is_changed_by_command(migrated: Command, home: Path, settings: Any) -> None:
    migrated("user", "add", "ada@example.com", "--password", "correct horse")
    database = Database(f"sqlite:///{home}/branchline.db", settings.database)
    user, before = database.read(users.by_email, "ada@example.com") or pytest.fail("no account")
    session = database.write(users.open_login, user.id, 1)

    result = migrated("user", "password", "ada@example.com", stdin="another horse\nanother horse\n")

    assert result.returncode == 0
    assert "another horse" not in result.stdout + result.stderr
    assert database.read(users.by_email, "ada@example.com") != (user, before)
    assert database.read(users.by_login, session) is None
    database.close()


@pytest.mark.parametrize("command", ["web", "up", "pool python"])
def test_no_process_starts_without_a_key_when_others_can_reach_it(branchline: Command, command: str) -> None:
    result = branchline(*command.split(), HOST="0.0.0.0")

    assert (result.returncode, result.stdout) == (2, "")
    assert "BRANCHLINE_SECURITY_SECRET_KEY" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_development_account_is_created_on_loopback_only(sqlite_url: str, tmp_path: Path) -> None:
    environ = {"BRANCHLINE_HOME": str(tmp_path), "DATABASE_URL": sqlite_url}
    reachable = {"HOST": "0.0.0.0", "BRANCHLINE_SECURITY_INSECURE": "true"}

    # Private: `up` itself would start everything on an address that others can reach.
    assert not up._development_account(settings_module.load(environ | reachable))
    assert up._development_account(settings_module.load(environ))


def test_no_password_is_printed_when_others_can_reach_it(tmp_path: Path) -> None:
    environ = {"BRANCHLINE_HOME": str(tmp_path), "BRANCHLINE_FLOWER_PASSWORD": "s3cr3t"}
    reachable = {"HOST": "0.0.0.0", "BRANCHLINE_SECURITY_INSECURE": "true"}

    assert "s3cr3t" not in printed_when_ready(settings_module.load(environ | reachable))
    assert "s3cr3t" in printed_when_ready(settings_module.load(environ))


def test_up_looks_for_everything_below_the_base_path_and_prints_it(sqlite_url: str, tmp_path: Path) -> None:
    environ = {"BASE_PATH": "/branchline", "PORT": str(free_port()), "FLOWER_PORT": str(free_port())}
    settings = settings_module.load(environ | {"BRANCHLINE_HOME": str(tmp_path)})
    database = Database(sqlite_url, settings.database)
    web, flower = (f"http://127.0.0.1:{environ[name]}/branchline" for name in ("PORT", "FLOWER_PORT"))

    printed = printed_when_ready(settings)
    assert f"{web} " in printed and f"{web}/api/docs " in printed and f"{flower}/flower/," in printed
    with httpx.Client() as client:
        assert f"no answer at {web}/readyz" in up._not_ready(settings, client, database)
    web_only = httpx.MockTransport(lambda asked: httpx.Response(200 if asked.url.path.endswith("z") else 404))
    with httpx.Client(transport=web_only) as client:
        assert up._not_ready(settings, client, database) == f"{flower}/flower/healthcheck answers "
    database.close()


def printed_when_ready(settings: Settings) -> str:
    with pytest.MonkeyPatch.context() as wide, console.capture() as captured:
        wide.setattr(console, "width", 500)
        TextReport().ready(settings)
    return captured.get()


def test_a_second_account_for_an_address_is_refused(migrated: Command) -> None:
    ada = ("user", "add", "ada@example.com", "--password", "correct horse")
    assert migrated(*ada).returncode == 0
    result = migrated(*ada)
    assert (result.returncode, result.stdout) == (1, "")
    assert "There is an account for ada@example.com already" in result.stderr


def test_a_weak_password_and_a_token_for_nobody_are_refused(migrated: Command) -> None:
    for weak in ("short", "password1", "ada@example.com", " " * 9):
        refused = migrated("user", "add", "ada@example.com", "--password", weak)
        assert refused.returncode == 2
        assert "The password " in refused.stderr
    result = migrated("token", "create", "nobody@example.com")
    assert result.returncode == 1
    assert "There is no account for nobody@example.com" in result.stderr


def test_the_openapi_document_is_printed_when_no_service_runs(branchline: Command) -> None:
    document = printed(branchline("openapi"))
    assert document["openapi"].startswith("3.1")
    assert "/api/threads/{thread_id}/runs" in document["paths"]


def test_doctor_says_how_to_fix_each_missing_part(branchline: Command) -> None:
    result = branchline("doctor", "--json")
    assert result.returncode == 1
    findings = {finding["about"]: finding for finding in printed(result)}
    assert findings["database"]["remedy"].startswith("Run: branchline migrate.")
    for about in ("redis", "broker", "web"):
        assert not findings[about]["ok"] and findings[about]["remedy"]
    assert findings["workers"]["ok"]


def test_doctor_accepts_the_schema_of_a_later_version(migrated: Command, home: Path) -> None:
    with sqlite3.connect(home / "branchline.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    findings = {finding["about"]: finding for finding in printed(migrated("doctor", "--json"))}

    assert findings["database"]["ok"], "to migrate would fail, and nothing is missing"


def test_doctor_does_not_show_passwords(branchline: Command) -> None:
    secret = "s3cr3t"
    result = branchline(
        "doctor",
        REDIS_URL=f"redis://:{secret}@127.0.0.1:{free_port()}/0",
        DATABASE_URL=f"postgresql://somebody:{secret}@127.0.0.1:{free_port()}/nothing",
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert secret not in result.stdout + result.stderr


def test_chat_says_how_to_start_a_server_when_there_is_none(branchline: Command) -> None:
    result = branchline("chat")
    assert (result.returncode, result.stdout) == (1, "")
    assert "make run" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def queued(migrated: Command, home: Path, settings: Any) -> str:
    """A run that waits for a pool, made without any server."""
    database = Database(f"sqlite:///{home}/branchline.db", settings.database)
    user = database.write(users.register, email="ada@example.com", password_hash="-")
    run = _make_run(database, user)
    database.close()
    return run


def _make_run(database: Database, user: User) -> str:
    spec = stored.RunSpec(
        worker_id="echo",
        worker_digest="0" * 64,
        pool="python",
        config={},
        args=None,
        max_attempts=3,
        timeout_seconds=60,
    )
    thread = database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)
    messages = [states.NewMessage(Role.USER, "hello")]
    created = database.write(
        stored.create, thread, user.id, thread.root_state_id, messages, spec, published=False
    )
    return created.runs[0].id


def test_runs_are_listed_shown_and_cancelled(migrated: Command, queued: str) -> None:
    assert queued in migrated("runs", "list", "--status", "queued").stdout
    assert "No pool named 'python' is running" in migrated("runs", "show", queued).stdout
    assert migrated("runs", "cancel", queued).stdout == "The run is cancelled.\n"
    assert migrated("runs", "cancel", queued).returncode == 0
    assert printed(migrated("runs", "list", "--json"))["items"][0]["status"] == "cancelled"
    assert queued not in migrated("runs", "list", "--status", "queued").stdout


def test_a_password_comes_from_stdin_or_is_made_and_printed_once(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_module.load({"DATABASE_URL": sqlite_url, "REDIS_URL": "redis://127.0.0.1:1/0"})
    monkeypatch.setattr("runtime.cli.users.current", lambda: settings)

    def user(*arguments: str, stdin: str = "") -> str:
        return CliRunner().invoke(program, ["user", *arguments], input=stdin).output

    given = user("add", "ada@example.com", "--password-stdin", stdin="correct horse\n")
    assert given == "ada@example.com can sign in now.\n"
    assert "There is no password in stdin" in user("add", "eve@example.com", "--password-stdin")
    made = json.loads(user("add", "eve@example.com", "--json"))
    assert len(made["password"]) == 24 and made["user"]["email"] == "eve@example.com"
    shown = user("add", "bob@example.com")
    assert "Password, which is not shown again: " in shown and made["password"] not in shown
    assert "not by both" in user("add", "x@example.com", "--password-stdin", "--password", "correct horse")
    assert "was changed" in user("password", "bob@example.com", "--password-stdin", stdin="another horse")


def test_an_unknown_run_is_reported_in_one_sentence(migrated: Command) -> None:
    result = migrated("runs", "show", "01900000-0000-7000-8000-000000000000")
    assert (result.returncode, result.stderr) == (
        1,
        "There is no run 01900000-0000-7000-8000-000000000000.\n",
    )
    assert migrated("runs", "show", "nonsense").returncode == 2


ASKS = """
import sys
from runtime.sdk import Failure

def pay(run):
    run.step("Paying")

def run(run):
    print("for the log")
    run.once("pay", pay, run)
    if run.attempt == 1:
        raise Failure("Busy.", retryable=True)
    yield "Here. "
    name = run.confirm("Name?", schema={"type": "object", "required": ["name"]})["name"]
    yield f"Hello {name}."
    if name == "nobody":
        raise Failure("There is nobody.")
"""


@pytest.fixture
def asks(tmp_path: Path) -> Path:
    folder = tmp_path / "asks"
    folder.mkdir()
    (folder / "worker.toml").write_text(
        'id = "asks"\nname = "Asks"\ntype = "python"\nentrypoint_path = "asks.py"\n'
    )
    (folder / "asks.py").write_text(ASKS)
    return folder


def test_a_worker_is_run_in_the_terminal_and_asks_there(branchline: Command, asks: Path) -> None:
    done = branchline("run", str(asks), "hi", stdin='Ada\n{"name": "Ada"}\n')
    assert done.returncode == 0
    assert done.stdout.count("(Paying)") == 1
    assert "Here. \nName?" in done.stdout
    assert "does not match the worker's schema" in done.stdout
    assert done.stdout.endswith("Hello Ada.\n")
    assert done.stderr.count("for the log") == 3

    failed = branchline("run", str(asks), "hi", stdin='{"name": "nobody"}\n')
    assert (failed.returncode, failed.stdout.splitlines()[-1]) == (1, "error: There is nobody.")
    left = branchline("run", str(asks), "hi")
    assert (left.returncode, left.stdout.splitlines()[-1]) == (1, "cancelled")


CALLS = """
def run(run):
    found = run.call("asks", "hi")
    yield f"{found.status}: {found.text!r}. "
    yield run.call("echo", "And an echo").text
    yield f" {run.call('nowhere').error['message']}"
"""


def test_a_worker_that_is_run_in_the_terminal_calls_those_beside_it_and_installed_ones(
    branchline: Command, asks: Path
) -> None:
    caller = asks.parent / "caller"
    caller.mkdir()
    (caller / "worker.toml").write_text(
        'id = "caller"\nname = "Caller"\ntype = "python"\nentrypoint_path = "caller.py"\n'
    )
    (caller / "caller.py").write_text(CALLS)

    done = branchline("run", str(caller), "hi", stdin='{"name": "Ada"}\n')

    assert done.returncode == 0, done.stderr
    assert "Name?" in done.stdout
    assert "success: 'Here. \\n\\nHello Ada.'. And an echo" in done.stdout
    assert "There is no worker 'nowhere'." in done.stdout


def test_a_worker_that_is_not_there_is_named_in_one_sentence(branchline: Command, tmp_path: Path) -> None:
    assert branchline("run", "nowhere").stderr.startswith("There is no worker 'nowhere'.")
    missing = branchline("run", str(tmp_path / "nowhere"))
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    wrong = branchline("run", "echo", "hi", "--config", '{"piece": "x"}')
    assert (wrong.returncode, "config.piece" in wrong.stderr) == (2, True)


def test_a_worker_is_run_again_when_its_folder_changes(asks: Path, home: Path) -> None:
    (asks / "asks.py").write_text("def run(run):\n    return 'first'\n")
    with subprocess.Popen(
        [sys.executable, "-m", "runtime", "run", str(asks), "hi", "--reload"],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], "BRANCHLINE_HOME": str(home), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = iter(process.stdout.readline, "")
        try:
            assert next(line for line in said if "first" in line)
            assert "Waiting for a change" in next(said)
            (asks / "asks.py").write_text("def run(run:\n")
            assert next(line for line in said if "error" in line)
            (asks / "asks.py").write_text("def run(run):\n    return 'second'\n")
            assert next(line for line in said if "second" in line)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["python", "exec", "node", "http"])
def test_a_new_worker_is_valid_and_answers(branchline: Command, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "more" / "my-worker"
    made = branchline("new-worker", "my-worker", "--type", kind, "--path", str(folder))
    assert made.returncode == 0
    assert f"branchline run {folder}" in made.stdout
    found = discover([folder.parent])
    assert (list(found.workers), dict(found.broken)) == (["my-worker"], {})
    files = [file for file in folder.iterdir() if file.is_file()]
    assert not [file for file in files if "xample" in file.name + file.read_text()]
    if kind in ("python", "exec") or (kind == "node" and shutil.which("node")):  # http needs a port
        done = branchline("run", str(folder), "hi", PYTHONPATH=str(CHECKOUT))
        assert (done.returncode, done.stdout[:5]) == (0, "Hello")
    if kind == "python":
        test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)}
        subprocess.run(test, cwd=folder, env=environ, check=True, capture_output=True)
        again = branchline("new-worker", "my-worker", "--path", str(folder))
        assert (again.returncode, "exists already" in again.stderr) == (2, True)


@pytest.mark.parametrize("language", [[], ["--typescript"]], ids=["JavaScript", "TypeScript"])
def test_a_new_node_worker_passes_its_test(branchline: Command, tmp_path: Path, language: list[str]) -> None:
    folder = tmp_path / "my-worker"
    branchline("new-worker", "my-worker", "--type", "node", *language, "--path", str(folder))
    worker = load(folder)
    if reason := worker.unavailable(os.environ):
        pytest.skip(reason)
    assert worker.entrypoint is not None
    program = node.command(worker.entrypoint, os.environ)

    done = subprocess.run([*program, "--test"], cwd=folder, check=False, capture_output=True, text=True)

    assert (done.returncode, "pass 1" in done.stdout) == (0, True), done.stdout
    refused = branchline("new-worker", "x", "--typescript", "--path", str(tmp_path / "x"))
    assert (refused.returncode, "add --type node" in refused.stderr) == (2, True)


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("library", "module"),
    [
        pytest.param("langgraph", "langgraph", marks=pytest.mark.slow),
        pytest.param("openai-agents", "agents", marks=pytest.mark.slow),
        ("pydantic-ai", "pydantic_ai"),
        ("openai", "openai"),
    ],
)
def test_a_new_worker_of_a_librarys_agent_is_valid_and_passes_its_test(
    branchline: Command, tmp_path: Path, library: str, module: str
) -> None:
    need(module)
    folder = tmp_path / "my-worker"
    made = branchline("new-worker", "my-worker", "--from", library, "--path", str(folder))
    assert (made.returncode, "see which libraries it needs" in made.stdout) == (0, True)
    found = discover([tmp_path])
    assert (list(found.workers), dict(found.broken)) == (["my-worker"], {})
    assert not [file for file in folder.iterdir() if "xample" in file.name + file.read_text()]
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(folder)]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)}
    subprocess.run(test, cwd=folder, env=environ, check=True, timeout=60)


def test_a_worker_of_a_librarys_agent_is_a_python_worker(branchline: Command, tmp_path: Path) -> None:
    refused = branchline(
        "new-worker", "x", "--from", "openai", "--type", "exec", "--path", str(tmp_path / "x")
    )
    assert (refused.returncode, "leave out --type" in refused.stderr) == (2, True)


def test_what_was_given_up_is_listed_and_tried_again(migrated: Command, home: Path) -> None:
    database = Database(f"sqlite:///{home / 'branchline.db'}", settings_module.load({}).database)
    for key in ("one", "two"):
        database.write(outbox.put, "greet", key)
    for task in database.write(outbox.take, ["greet"]):
        database.write(outbox.failed, task, "Conflict: not\x1b today", None)

    listed = migrated("outbox", "list").stdout

    assert "one" in listed
    assert "Conflict: not" in listed
    assert "\x1b" not in listed
    assert printed(migrated("outbox", "list", "--json"))["items"][0]["error"] == "Conflict: not\x1b today"
    assert "Nothing with the key three" in migrated("outbox", "replay", "three").stderr
    assert "Name a key" in migrated("outbox", "replay").stderr
    assert migrated("outbox", "replay", "one").stdout == "Tried again: 1.\n"
    assert [task.key for task in database.write(outbox.take, ["greet"])] == ["one"]
    assert migrated("outbox", "replay", "--all").stdout == "Tried again: 1.\n"
    database.close()
