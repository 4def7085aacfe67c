"""The knowledge base of an app, and what its process does for that beside its requests."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask, current_app

from runtime.knowledge import embeddings
from runtime.knowledge.embedder import Embedder
from runtime.knowledge.meaning import Meaning
from runtime.knowledge.service import Knowledge
from web.core import Core, core

_NAME = "knowledge"


def init_app(app: Flask, core: Core) -> None:
    """Make the knowledge base of an app."""
    meaning = app.extensions[_NAME] = Meaning.of(core.settings.embeddings)
    if meaning is not None:
        core.at_start.append(lambda: _embed(core, meaning))
    else:
        core.at_start.append(lambda: _forget(core))


def knowledge() -> Knowledge:
    """That of the app that handles the current request."""
    return Knowledge(core.database, current_app.extensions[_NAME])


def _embed(core: Core, meaning: Meaning) -> None:
    core.duties.start("embed passages", Embedder(core.database, meaning.endpoint).run, essential=False)


def _forget(core: Core) -> None:
    """Nobody carries out what was left for an endpoint that there is no more."""

    def forget() -> Iterator[None]:
        core.database.write(embeddings.forget_tasks)
        yield

    core.duties.start("drop tasks of embeddings", forget, essential=False, once=True)
