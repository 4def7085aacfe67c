"""The knowledge base for runs of workers whose worker.toml grants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, g, request

from runtime.errors import Forbidden, StaleAttempt, Unauthenticated
from runtime.knowledge.model import Kind, Project
from runtime.knowledge.service import Sent
from runtime.model import Run
from runtime.tokens import RunGrant
from web.api.openapi import Blueprint
from web.api.worker_api import CONTENT_BODY, run_token_required
from web.core import core
from web.http.parsing import pieces
from web.http.responses import json_response
from web.knowledge import schemas
from web.knowledge.content import Content
from web.knowledge.service import knowledge
from web.security import scope

views = Blueprint(
    "worker knowledge",
    __name__,
    url_prefix="/worker/runs/<id:run_id>",
    security=("run",),
    description="For workers: the knowledge base",
)
views.before_request(run_token_required)


@views.route("/search")
@views.arguments(schemas.WorkerSearchQuery, location="query")
@views.response(200, schemas.ANSWER)
def search_for_run(given: dict[str, Any], run_id: str) -> Response:
    """The passages of its user's documents that fit best, the best first, as `/api/knowledge/search` has
    them.

    A run of an agent chat sees the sources of the chat's project, and those of none.

    403 unless `grants` in the worker.toml of its worker has `knowledge`.
    """
    run: Run = g.run
    _check_granted(run)
    asked = knowledge().ask(given["q"])
    with core.searches.hold(run.user_id):
        found = knowledge().search(
            run.workspace_id, asked, given["k"], source_name=given["source"], project=_project_of(run)
        )
    return json_response(found.encode())


@views.route("/documents")
@views.arguments(schemas.DocumentOfRunQuery, location="query")
@views.response(200, schemas.FOUND)
def find_document_for_run(given: dict[str, Any], run_id: str) -> Response:
    """The document of that name in a source of its user, or null: whether it has to be sent again is seen
    by its digest. 403 as for a search.
    """
    run: Run = g.run
    _check_granted(run)
    found = knowledge().find_for_run(run, _project_of(run), given["source"], given["name"])
    return json_response({"document": found and found.encode()})


@views.route("/documents", methods=["POST"])
@views.arguments(schemas.NewDocumentOfRunQuery, location="query")
@views.doc(**CONTENT_BODY)
@views.response(201, schemas.ADDED)
def add_document_of_run(given: dict[str, Any], run_id: str) -> Response:
    """Add a document, which is the body, to a source of its user, as a user may.

    It is committed when it is answered, unless a later attempt of the run has begun: 401. To send it
    again does no harm, for one that is the same as before is not read again. 403 as for a search.
    """
    run: Run = g.run
    _check_granted(run)
    content = Content()
    with core.large_bodies.hold(run.user_id):
        for piece in pieces(request):
            content.write(piece)
        kind = given["kind"] and Kind(given["kind"])
        sent = Sent(given["name"], bytes(content), kind, given["digest"], given["validator"])
        try:
            added, changed = knowledge().add_of_run(run, _project_of(run), given["source"], sent)
        except StaleAttempt as error:
            raise Unauthenticated("The attempt has ended, and writes nothing any more.") from error
    return json_response({"document": added.encode(), "changed": changed}, 201)


def _check_granted(run: Run) -> None:
    """Raises Forbidden where the version that executes the run is not granted the knowledge base."""
    grant: RunGrant = g.run_grant
    if "knowledge" not in (grant.grants if grant.grants is not None else _granted_now(run.worker_id)):
        raise Forbidden('The knowledge base is not granted: set grants = ["knowledge"] in worker.toml.')


def _project_of(run: Run) -> Project | None:
    """Whose sources it sees; None: all of its user's."""
    found = scope.project_of(run)
    return Project(*found) if found else None


def _granted_now(worker_id: str) -> Sequence[str]:
    """What the worker is granted as it is described now: for runs of pools of the release before."""
    core.catalogue.refresh()
    worker = core.catalogue.workers.get(worker_id)
    return worker.grants if worker else ()
