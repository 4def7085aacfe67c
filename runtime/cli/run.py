"""``branchline run``: execute a worker in this terminal, without a server."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import click

from runtime.child import Children
from runtime.cli.local_run import LocalRun
from runtime.cli.prompts import given, hint, json_object, read_line
from runtime.cli.reply import Reply
from runtime.cli.terminal import console
from runtime.errors import Invalid, Unavailable, WorkerInvalid, WorkerUnavailable
from runtime.model import Json, Message, Role, RunStatus, new_id
from runtime.registry import Worker, discover, load
from runtime.registry.config_schema import ConfigSchema
from runtime.registry.digest import FolderDigest
from runtime.settings import Settings, current

_POLL = 0.3
"""Seconds between two looks at a folder that is watched."""


@click.command()
@click.argument("worker")
@click.argument("text", default="")
@click.option("--config", callback=json_object, help="The worker's configuration, as a JSON object.")
@click.option("--reload", is_flag=True, help="Run it again whenever its folder changes, until Ctrl-C.")
def run(worker: str, text: str, config: dict[str, Json], reload: bool) -> None:
    """Execute WORKER, a folder or an id, on a message with TEXT.

    Without a server: the worker is started as a pool starts it, in its sandbox; nothing is stored.
    The answer goes to stdout, its log to stderr. Its questions are asked here. Exit code 0 if the
    run succeeds, else 1. A worker that it calls is looked for beside it, and among those installed.
    """
    settings = current()
    folder = folder_of(worker, settings)
    with closing(Children(settings)) as children:
        if reload:
            with suppress(KeyboardInterrupt):
                _run_again_and_again(folder, text, config, settings, children)
            return
        status = _run(load(folder), text, config, settings, children)
    raise SystemExit(0 if status is RunStatus.SUCCESS else 1)


def folder_of(named: str, settings: Settings) -> Path:
    """Where a worker is: a folder, or one that is installed under that id. Raises UnknownWorker."""
    folder = Path(named)
    if os.sep in named or (folder / "worker.toml").exists():
        return folder.absolute()
    return discover(settings.worker_folders).get(named).folder


def _run_again_and_again(
    folder: Path, text: str, config: Mapping[str, Json], settings: Settings, children: Children
) -> None:
    digest, seen = FolderDigest(folder), ""
    worker: Worker | None = None
    while True:
        with suppress(OSError):  # a file was replaced just now
            now = digest.now()
            if now != seen:
                seen = now
                if worker is not None:
                    children.retire(worker)
                try:
                    worker = load(folder)
                    _run(worker, text, config, settings, children)
                except (WorkerInvalid, Invalid, Unavailable) as error:
                    console.print(str(error), style="red", markup=False)
                console.print("Waiting for a change; Ctrl-C ends.", style="dim")
        time.sleep(_POLL)


def _run(
    worker: Worker, text: str, config: Mapping[str, Json], settings: Settings, children: Children
) -> RunStatus:
    """Execute one run, asking its questions. Returns its status."""
    if reason := replace(worker, enabled=True).unavailable(os.environ):
        raise WorkerUnavailable(worker.id, reason)
    reply = Reply(console)
    local = LocalRun(worker, [_said(text)], worker.check_config(config), settings, children, reply)
    local.execute()
    while reply.question is not None:
        _answer(local, reply.question)
        reply.question = None
        local.execute()
    if local.run.status is not RunStatus.SUCCESS:
        message = local.run.error.message if local.run.error else ""
        console.print(f"{local.run.status}: {message}".rstrip(": "), style="red", markup=False)
    return local.run.status


def _said(text: str) -> Message:
    return Message(id=new_id(), state_id="input", position=0, role=Role.USER, content=text)


def _answer(local: LocalRun, question: Mapping[str, Json]) -> None:
    """Ask the user until the answer fits; Ctrl-D and Ctrl-C cancel the run."""
    schema = question.get("schema")
    while True:
        try:
            text = read_line(f"{question.get('prompt') or 'The worker asks'}{hint(question)} ")
        except KeyboardInterrupt:
            text = None
        if text is None:
            return local.cancel()
        answer = given(question, text)
        try:
            return local.answer(ConfigSchema(schema, "answer").check(answer) if schema else answer)
        except Invalid as error:
            problems = "; ".join(field.message for field in error.errors)
            console.print(f"{error} {problems}", style="red", markup=False)
