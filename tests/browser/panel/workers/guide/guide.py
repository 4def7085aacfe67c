"""Does in an agent chat what its last message says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from runtime.sdk import Run

_ANSWER = """Branchline keeps **every accepted run**, and a stream has no silent gap [1].

- A process may be killed at any moment.
- What was done is *not* done again [2].

```python
run.once("plan", ask_model)
```

| store | for |
|---|---|
| PostgreSQL | many machines |
| SQLite | one |
"""
_SOURCES = [
    {
        "number": 1,
        "source": "docs",
        "document": "guarantees.md",
        "titles": ["Guarantees", "Streams"],
        "text": "A client that was disconnected resumes where it was, or is told to read a snapshot first.",
        "position": 3,
    },
    {
        "number": 2,
        "source": "docs",
        "document": "durable-steps.md",
        "titles": ["Durable steps"],
        "text": "The durable steps of a run have their results in every later attempt.",
        "position": 1,
    },
]


def run(run: Run) -> Iterator[str]:
    """By the first word: sources, find, ask, count, file; anything else is repeated."""
    word, _, rest = run.messages[-1].content.partition(" ")
    if word == "sources":
        with run.start(data={"sources": _SOURCES}) as message:
            message.delta(_ANSWER)
    elif word == "find":
        _cite(run, rest)
    elif word == "ask":
        yield f"You said {run.confirm('Overwrite plan.md?', options=['Overwrite', 'Keep both'])}."
    elif word == "count":
        yield from _count(Path(rest))
    elif word == "file":
        run.file("plan.md", b"# Plan")
    else:
        names = ", ".join(file.name for file in run.messages[-1].files)
        yield run.messages[-1].content + (f" ({names})" if names else "")


def _cite(run: Run, query: str) -> None:
    """The passage of the knowledge base that fits best."""
    (best,) = run.search(query, 1)
    with run.start(data={"sources": [{"number": 1, **vars(best)}]}) as message:
        message.delta("As it says [1].")


def _count(gate: Path) -> Iterator[str]:
    """From 0 to 39, half of it once the file is there."""
    for number in range(40):
        while number == 20 and not gate.exists():
            time.sleep(0.01)
        yield f"{number} "
