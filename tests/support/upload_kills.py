"""Processes that upload and delete files at once, and are killed at any point; what is left of it.

``python -m tests.support.upload_kills DATABASE_URL HOME UPLOADS SEED`` prints a JSON object. Each
process takes part in the same few contents, so that one deletes the last file of a content while
another one uploads it. It notes in a file what it has been told is done. Before one of its steps,
any of them, it is killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime import settings as settings_module
from runtime.errors import NotFound
from runtime.files import Files
from runtime.settings import Settings
from runtime.store import Database, users
from runtime.store import files as store
from runtime.store.tables import files as table

CONTENTS = [bytes([65 + number]) * (1000 + number) for number in range(3)]
AT_ONCE = 3
_LONGEST_LIFE = 40
"""Steps before one of which a process is killed."""


def main(database_url: str, home: str, uploads: int, seed: int) -> dict[str, Any]:
    """Have them upload, until so many were acknowledged; what was found afterwards."""
    settings = settings_module.load({"BRANCHLINE_HOME": home, "DATABASE_URL": database_url})
    Path(home).mkdir(exist_ok=True)
    database = Database(settings.database_url, settings.database)
    user = database.write(users.register, email="kills@example.com", password_hash="-", name=None)
    database.close()
    notes, killed, lives = Path(home, "notes"), 0, 0
    notes.touch()
    while notes.read_text().count("uploaded ") < uploads:
        children = {_fork(settings, user, notes, seed * 100_000 + lives + place) for place in range(AT_ONCE)}
        lives += AT_ONCE
        for child in children:
            _, status = os.waitpid(child, 0)
            killed += os.WIFSIGNALED(status)
            if os.WIFEXITED(status) and os.WEXITSTATUS(status):
                raise RuntimeError("a process has failed by itself; see its traceback")
    return {"killed": killed, "lives": lives, **_verdict(settings, user, notes.read_text().splitlines())}


def _fork(settings: Settings, user: Any, notes: Path, seed: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        _live(settings, user, notes, random.Random(seed))
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def _live(settings: Settings, user: Any, notes: Path, chance: random.Random) -> None:
    """Upload and delete until the end of this life."""
    database = Database(settings.database_url, settings.database)
    files = Files(database, settings)
    steps = iter(range(chance.randrange(_LONGEST_LIFE), -1, -1))

    def before(step: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*args: Any, **kwargs: Any) -> Any:
            if next(steps) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            done = step(*args, **kwargs)
            if next(steps, 0) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return taken

    contents: Any = files._contents
    contents.put, contents.delete = before(contents.put), before(contents.delete)
    database.write = before(database.write)  # type: ignore[method-assign]
    descriptor = os.open(notes, os.O_WRONLY | os.O_APPEND)

    def note(text: str) -> None:
        os.write(descriptor, f"{text}\n".encode())

    own: list[str] = []
    while True:
        if own and chance.random() < 0.5:
            file_id = own.pop(chance.randrange(len(own)))
            note(f"deleting {file_id}")
            files.delete(user.workspace_id, file_id)
            note(f"deleted {file_id}")
        else:
            number = chance.randrange(len(CONTENTS))
            with files.stage() as staged:
                staged.write(CONTENTS[number])
                file = files.add(staged, user.workspace_id, user.id, f"{number}.txt")
            note(f"uploaded {file.id} {number}")
            own.append(file.id)


def _verdict(settings: Settings, user: Any, notes: list[str]) -> dict[str, Any]:
    """What is lost, doubled or left, now and once nothing is used any more."""
    said = [note.split() for note in notes]
    uploaded = {note[1]: int(note[2]) for note in said if note[0] == "uploaded"}
    perhaps = {note[1] for note in said if note[0] == "deleting"}
    deleted = {note[1] for note in said if note[0] == "deleted"}
    database = Database(settings.database_url, settings.database)
    files = Files(database, settings)
    store._UPLOAD_SECONDS = 0  # those that upload are dead
    files.clean_up()
    lost = [
        file_id
        for file_id, number in uploaded.items()
        if file_id not in perhaps and _content(files, database, user, file_id) != CONTENTS[number]
    ]
    undead = [file_id for file_id in deleted if _content(files, database, user, file_id) is not None]
    rows = database.read(lambda c: list(c.execute(table.select())))
    unfit = sorted({row.hash for row in rows} ^ set(_on_disk(settings, "kept")))
    files._unused_days = 0
    files.clean_up()
    for path in (settings.home / "files" / "incoming").iterdir():
        os.utime(path, (0, 0))
    files.clean_up()
    left = database.read(lambda c: len(list(c.execute(table.select()))))
    on_disk = [*_on_disk(settings, "kept"), *_on_disk(settings, "incoming")]
    database.close()
    return {
        "uploaded": len(uploaded),
        "deleted": len(deleted),
        "lost": lost,
        "undead": undead,
        "unfit": unfit,
        "left": [*on_disk, *["a row"] * left],
    }


def _content(files: Files, database: Database, user: Any, file_id: str) -> bytes | None:
    try:
        file = database.read(store.get, user.workspace_id, file_id)
    except NotFound:
        return None
    return b"".join(files.read(file))


def _on_disk(settings: Settings, folder: str) -> list[str]:
    return [path.name for path in (settings.home / "files" / folder).rglob("*") if path.is_file()]


if __name__ == "__main__":
    url, home, uploads, seed = sys.argv[1:]
    print(json.dumps(main(url, home, int(uploads), int(seed))))
