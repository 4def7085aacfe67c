"""A stack of which only the web process is started; the tests play its pool."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.store import migrate
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until


def stack_on_sqlite(
    folder: Path, template: Path, redis: RedisServer, from_python: bool = False, **environ: str
) -> Stack:
    """A stack in ``folder``, on a copy of the migrated database ``template``. Nothing of it is started."""
    database = folder / "branchline.db"
    shutil.copyfile(template, database)
    return Stack(folder, f"sqlite:///{database}", redis.url, pools=(), from_python=from_python, **environ)


@contextmanager
def web_only(stack: Stack) -> Iterator[Stack]:
    """``stack`` with its database migrated and its web process ready, stopped afterwards."""
    migrate.upgrade(stack.environ["DATABASE_URL"])
    try:
        stack.start("web")
        until(stack.ready, READY_WITHIN, "the web process is ready")
        yield stack
    finally:
        stack.__exit__()
