"""The knowledge base: documents that are searched by passages."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from runtime.knowledge import ingestion_store, store
from runtime.knowledge.ingestions import Ingestions
from runtime.knowledge.model import Language, Project
from runtime.knowledge.service import Sent
from web.api import body_limits
from web.api.openapi import Blueprint
from web.api.schemas import outputs
from web.core import core
from web.http.multipart import FILE_BODY, read_file
from web.http.responses import json_response, no_content
from web.knowledge import schemas
from web.knowledge.content import Content
from web.knowledge.service import knowledge
from web.security import auth, scope

views = Blueprint(
    "knowledge",
    __name__,
    url_prefix="/api/knowledge",
    description="Documents that are searched by passages",
)
views.before_request(auth.sign_in_required)
views.before_request(body_limits.enter_lane)

_RunAnswer = outputs.wrapped("IngestionAnswer", run=outputs.Run)
_DocumentAnswer = outputs.wrapped("OneDocumentAnswer", document=schemas.Document)
_SourceAnswer = outputs.wrapped("SourceAnswer", source=schemas.Source)


@views.route("/sources")
@views.arguments(schemas.SourcesQuery, location="query")
@views.response(200, outputs.page_of(schemas.Source))
def list_sources(given: dict[str, Any]) -> Response:
    """Your sources, by their names."""
    workspace_id = auth.current_user().workspace_id
    page = core.database.read(store.list_sources, workspace_id, **given, model=knowledge().model)
    return json_response({"items": [source.encode() for source in page.items], "next": page.next})


@views.route("/sources", methods=["POST"])
@views.arguments(schemas.NewSource)
@views.response(201, _SourceAnswer)
def create_source(given: dict[str, Any]) -> Response:
    """Make a source, to which documents are added then. 409 if you have one of that name.

    You may have 1,000 sources, each with 10,000 documents.
    """
    user = auth.current_user()
    made = core.database.write(
        store.create_source,
        user.workspace_id,
        user.id,
        given["name"],
        Language(given["language"]),
        given["project_id"],
        knowledge().model,
    )
    return json_response({"source": made.encode()}, 201)


@views.route("/sources/<id:source_id>")
@views.response(200, _SourceAnswer)
def get_source(source_id: str) -> Response:
    """One source."""
    workspace_id = auth.current_user().workspace_id
    found = core.database.read(store.get_source, workspace_id, source_id, knowledge().model)
    return json_response({"source": found.encode()})


@views.route("/sources/<id:source_id>", methods=["DELETE"])
@views.response(204)
def delete_source(source_id: str) -> Response:
    """Delete a source with all its documents."""
    knowledge().remove_source(auth.current_user(), source_id)
    return no_content()


@views.route("/sources/<id:source_id>/documents")
@views.arguments(schemas.DocumentsQuery, location="query")
@views.response(200, outputs.page_of(schemas.Document))
def list_documents(given: dict[str, Any], source_id: str) -> Response:
    """The documents of a source, by their names."""
    page = core.database.read(store.list_documents, auth.current_user().workspace_id, source_id, **given)
    return json_response({"items": [document.encode() for document in page.items], "next": page.next})


@views.route("/sources/<id:source_id>/documents", methods=["POST"])
@views.arguments(schemas.NewDocumentQuery, location="query")
@views.doc(**FILE_BODY)
@views.response(201, schemas.ADDED)
def add_document(given: dict[str, Any], source_id: str) -> Response:
    """Add a document, as the part `file` of the body: Markdown, HTML or text, at most 4 MiB.

    One of the same name is replaced, with all its passages at once. One that is the same as before
    is not read again. 422 where it cannot be read, or has more than 10,000 passages. PDF, DOCX and web
    pages are added by an ingestion.
    """
    content = Content()
    name = read_file(request, content.write)
    name = given["name"] or name
    added, changed = knowledge().add(auth.current_user(), source_id, Sent(name, bytes(content)))
    return json_response({"document": added.encode(), "changed": changed}, 201)


@views.route("/sources/<id:source_id>/ingestions")
@views.arguments(schemas.IngestionsQuery, location="query")
@views.response(200, outputs.page_of(schemas.Ingestion))
def list_ingestions(given: dict[str, Any], source_id: str) -> Response:
    """The ingestions of a source, the newest first, and what has become of their documents."""
    workspace_id = auth.current_user().workspace_id
    page = core.database.read(ingestion_store.listing, workspace_id, source_id, **given)
    return json_response({"items": [one.encode() for one in page.items], "next": page.next})


@views.route("/sources/<id:source_id>/ingestions", methods=["POST"])
@views.arguments(schemas.NewIngestion)
@views.response(202, _RunAnswer)
def begin_ingestion(given: dict[str, Any], source_id: str) -> Response:
    """Have web pages, and files that you have uploaded, added to a source by a run of the worker `ingest`.

    It is a run as any other, in a thread of its own: it can be followed and cancelled. The `data` of its
    last message has the names of the documents that were `added` or are `unchanged`, and in `failed` those
    that could not be added, each with its `problem`. What has not changed is not read again.
    """
    run = Ingestions(core.dispatcher, core.database).begin(auth.current_user(), source_id, **given)
    return json_response({"run": run.encode()}, 202)


@views.route("/sources/<id:source_id>/documents/<id:document_id>")
@views.response(200, _DocumentAnswer)
def get_document(source_id: str, document_id: str) -> Response:
    """One document."""
    workspace_id = auth.current_user().workspace_id
    found = core.database.read(store.get_document, workspace_id, source_id, document_id)
    return json_response({"document": found.encode()})


@views.route("/sources/<id:source_id>/documents/<id:document_id>", methods=["DELETE"])
@views.response(204)
def delete_document(source_id: str, document_id: str) -> Response:
    """Delete a document of a source."""
    workspace_id = auth.current_user().workspace_id
    core.database.write(store.remove_document, workspace_id, source_id, document_id)
    return no_content()


@views.route("/sources/<id:source_id>/documents/<id:document_id>/passages")
@views.arguments(schemas.PassagesQuery, location="query")
@views.response(200, schemas.PASSAGES)
def read_passages(given: dict[str, Any], source_id: str, document_id: str) -> Response:
    """Passages of a document in their order, such as those around one that was found.

    The token of a thread's session, or of an application's own user, reads those that answers in its
    threads cite, as long as the document has not changed there.
    """
    workspace_id = auth.current_user().workspace_id
    found = core.database.read(store.read_passages, workspace_id, source_id, document_id, **given)
    shown = scope.cited(document_id, found)
    return json_response({"items": [one.encode() for one in shown]})


@views.route("/search")
@views.arguments(schemas.SearchQuery, location="query")
@views.response(200, schemas.ANSWER)
def search(given: dict[str, Any]) -> Response:
    """The passages of your documents that fit best, the best first, and where they have what was asked.

    Case and accents make no difference. A query without any word finds nothing. Where an embeddings
    endpoint is configured, passages are found by what they mean as well, and `vectors` says so.
    """
    user = auth.current_user()
    project = Project(given["project_id"]) if given["project_id"] is not None else None
    asked = knowledge().ask(given["q"])
    with core.searches.hold(user.id):
        found = knowledge().search(user.workspace_id, asked, given["k"], given["source"], project=project)
    return json_response(found.encode())
