"""``branchline`` with every command imported, and what commands import when they are called."""

from __future__ import annotations

import alembic.command
import alembic.runtime.migration
import alembic.script

import web.app
from runtime import cli
from runtime.__main__ import main

__all__ = ["main"]

assert alembic.command
assert web.app
for _commands in cli._COMMANDS.values():
    for _name, (_function, _) in _commands.items():
        cli._import(_function.partition(":")[0], _name)
