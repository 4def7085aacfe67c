"""Reads the files of the conversation, and makes some."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from runtime.sdk import Failure, Run


def run(run: Run) -> Iterator[str]:
    """What is asked by the arguments' ``way``."""
    way = (run.args or {}).get("way", "read")
    files = [file for message in run.messages for file in message.files]
    if way == "read":
        for file in files:
            with file.open() as content:
                assert content.read() == file.read()
            beginning = file.read()[:10].decode("utf-8", "replace")
            yield f"{file.name} {file.type} {file.size} {beginning};"
    elif way == "make":
        run.file("notes.csv", b"a,b\n", text="Here it is.")
        path = Path("~/made.txt").expanduser()
        path.write_text("from the disk")
        hidden = run.file("made.txt", path, show=False)
        run.message("And this.", files=[hidden])
    elif way == "crash":
        run.file("once.txt", b"the same each time")
        if run.attempt == 1:
            raise Failure("once more", retryable=True)
    elif way == "call":
        made = run.file("passed.txt", b"passed on", show=False)
        yield run.call("filer", "read it", files=[*files, made]).text
    elif way == "from below":
        [answer, *_] = run.call("filer", args={"way": "make"}).messages
        [file] = answer.files
        yield f"{file.name} {file.read().decode()}"
    elif way == "inbox":
        until = time.monotonic() + 30
        while (message := run.inbox.poll()) is None and time.monotonic() < until:
            time.sleep(0.05)
        assert message is not None
        yield f"{message.files[0].name} {message.files[0].read().decode()}"
    elif way == "stray":
        run.emit({"type": "message", "content": "none", "files": ["01900000-0000-7000-8000-000000000000"]})
