"""The command line: one module per noun, imported only when its command is called."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import click

from runtime import __version__
from runtime.cli import extras
from runtime.cli.failure import Failure
from runtime.errors import BranchlineError
from runtime.system import collector

_COMMANDS = {
    "Start": {
        "up": ("runtime.cli.up:up", "Start everything on this machine."),
        "web": ("runtime.cli.processes:web", "Serve the API and the streams."),
        "pool": ("runtime.cli.processes:pool", "Execute the runs of one pool."),
        "remote": ("runtime.cli.remote:remote", "Execute the runs of a pool elsewhere, over HTTPS."),
        "reaper": ("runtime.cli.processes:reaper", "Recover lost runs and messages."),
        "flower": ("runtime.cli.processes:flower", "Serve Flower, which monitors the pools."),
        "gradio": ("runtime.cli.gradio:gradio", "Serve a chat as a Gradio page."),
    },
    "Operate": {
        "doctor": ("runtime.cli.doctor:doctor", "Find problems and how to fix them."),
        "check": ("runtime.cli.check:check", "Check the settings and every worker folder."),
        "install": ("runtime.cli.install:install", "Make the environments that workers require."),
        "migrate": ("runtime.cli.database:migrate", "Upgrade the database schema."),
        "index-vectors": (
            "runtime.knowledge.command:index_vectors",
            "Index the vectors of passages (PostgreSQL).",
        ),
        "runs": ("runtime.cli.runs:runs", "List, show and cancel runs."),
        "outbox": ("runtime.cli.outbox:outbox", "List and replay what could not be carried out."),
        "user": ("runtime.cli.users:user", "Add accounts, and change passwords."),
        "token": ("runtime.cli.tokens:token", "Create API tokens, and tokens of pools."),
    },
    "Develop": {
        "run": ("runtime.cli.run:run", "Execute a worker in this terminal, without a server."),
        "new-worker": ("runtime.cli.new_worker:new_worker", "Make a folder with a worker to begin with."),
    },
    "Use": {
        "chat": ("runtime.cli.chat:chat", "Chat with a worker in this terminal."),
        "kb": ("runtime.cli.kb:kb", "Fill and search your knowledge base."),
        "system": ("runtime.cli.system:system", "Check systems of agents."),
        "openapi": ("runtime.cli.processes:openapi", "Print the API's OpenAPI document."),
    },
}


class _Lazy(click.Group):
    """Imports a command when it is called; ``--help`` needs only the names and summaries above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for commands in _COMMANDS.values() for name in commands]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        for commands in _COMMANDS.values():
            if name in commands:
                module, _, attribute = commands[name][0].partition(":")
                command: click.Command = getattr(_import(module, name), attribute)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in _COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name, summary) for name, (_, summary) in commands.items()], col_spacing=4
                )

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BranchlineError as error:
            raise Failure(error) from error


def _import(module: str, command: str) -> ModuleType:
    try:
        with collector.paused():
            return import_module(module)
    except ModuleNotFoundError as error:
        if missing_extra := extras.missing(error, command):
            raise Failure(missing_extra) from error
        raise


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="branchline %(version)s")
def branchline() -> None:
    """Branchline: a distributed job-queue runtime for chat agents.

    Settings come from the environment; config/default.toml lists them all.
    """
