"""What clients send of the knowledge base, and what they are shown."""

from __future__ import annotations

from marshmallow import fields, validate

from runtime.knowledge.ingestions import MOST_ADDRESSES
from runtime.knowledge.model import Kind, Language, Vectors
from runtime.knowledge.service import LONGEST_NAME
from runtime.store.files import MOST as MOST_FILES
from runtime.transfer.kinds import Id, Several, named, one_of, says
from web.api.schemas import outputs, queries
from web.api.schemas.inputs import Input
from web.api.schemas.query_kinds import QueryInteger

MOST_FOUND = 50
"""Passages that a search may be asked for."""


class NewSource(Input):
    """Documents that belong together."""

    name = named(200, required=True, metadata=says("yours have different ones"))
    language = one_of(
        Language,
        load_default=Language.ENGLISH,
        metadata=says("of its documents; words are found with other endings, too (`simple`: they are not)"),
    )
    project_id = named(
        load_default=None,
        allow_none=True,
        metadata=says("a label of your own; chats of agents of other projects do not see the source"),
    )


class NewIngestion(Input):
    """What a run is to fetch or to convert, and to add."""

    urls = Several(
        fields.String(
            validate=validate.Regexp(
                rf"https?://[^\s<>\"]{{1,{LONGEST_NAME - 8}}}\Z", error="must be an address of the web"
            )
        ),
        load_default=list,
        validate=validate.Length(max=MOST_ADDRESSES, error="may have {max} addresses"),
        metadata=says("addresses of web pages, each of which becomes a document of that name"),
    )
    files = Several(
        Id(),
        load_default=list,
        validate=validate.Length(max=MOST_FILES, error="may name {max} files"),
        metadata=says("ids of files that you have uploaded: texts, PDF, DOCX, or ZIP archives of them"),
    )


class SourcesQuery(queries.Limited):
    """Which sources."""

    project_id = named(load_default=None, metadata=says("only those of this project"))


class IngestionsQuery(queries.Limited):
    """Which ingestions."""


class DocumentsQuery(queries.Limited):
    """Which documents."""


class NewDocumentQuery(queries.Query):
    """What is uploaded."""

    name = named(
        LONGEST_NAME,
        load_default=None,
        metadata=says("of the document within its source, such as a path; default: the name of the file"),
    )


class _Searched(queries.Query):
    q = named(1000, required=True, metadata=says("words; passages with any of them are found"))
    k = QueryInteger(load_default=5, validate=validate.Range(1, MOST_FOUND), metadata=says("how many"))


class DocumentOfRunQuery(queries.Query):
    """Which document of its user a run means."""

    source = named(200, required=True, metadata=says("the name of the source"))
    name = named(LONGEST_NAME, required=True, metadata=says("of the document within it, such as a path"))


class NewDocumentOfRunQuery(DocumentOfRunQuery):
    """What a run adds."""

    kind = one_of(
        Kind,
        load_default=None,
        metadata=says("what it is read as; default: what its name and its content say"),
    )
    digest = fields.String(
        load_default=None,
        validate=validate.Regexp(r"[0-9a-f]{64}\Z", error="must be 64 hexadecimal digits, in small letters"),
        metadata=says("SHA-256 of the file that the run has made this of; default: of what is sent"),
    )
    validator = fields.String(
        load_default=None,
        validate=validate.Length(max=1000),
        metadata=says(
            "what a run will ask the document's origin by whether it has changed, such as the ETag of a page"
        ),
    )


class PassagesQuery(queries.Query):
    """Which passages of a document."""

    first = QueryInteger(
        load_default=0,
        validate=validate.Range(0, 1_000_000),
        metadata=says("the position of the first one"),
    )
    limit = QueryInteger(load_default=5, validate=validate.Range(1, MOST_FOUND), metadata=says("how many"))
    q = named(
        1000, load_default=None, metadata=says("words that are marked, as a search for them marks them")
    )


class SearchQuery(_Searched):
    """What is searched."""

    source = Id(load_default=None, metadata=says("in this source only"))
    project_id = named(
        load_default=None, metadata=says("only in the sources of this project, and in those of none")
    )


class WorkerSearchQuery(_Searched):
    """What a run searches."""

    source = named(200, load_default=None, metadata=says("in the source of this name only"))


class Source(outputs.Output):
    """Documents that belong together."""

    id = outputs.identifier()
    name = fields.String()
    language = one_of(Language)
    project_id = fields.String(allow_none=True)
    documents = fields.Integer(metadata=says("how many it has"))
    passages = fields.Integer(metadata=says("how many they have"))
    embedded = fields.Integer(
        allow_none=True,
        metadata=says(
            "how many of the passages are found by what they mean, too; the others will be. null where no "
            "embeddings endpoint is configured"
        ),
    )
    created_at = outputs.moment()
    updated_at = outputs.moment(
        metadata=says("when a document was added or replaced last; `created_at` if there are none")
    )


class Document(outputs.Output):
    """One document of a source."""

    id = outputs.identifier()
    source_id = outputs.identifier()
    name = fields.String()
    title = fields.String(allow_none=True)
    kind = one_of(Kind, metadata=says("what it was read as"))
    size = fields.Integer(metadata=says("bytes"))
    digest = fields.String(
        metadata=says("SHA-256 of its file, in hexadecimal digits, as it was before a run converted it")
    )
    validator = fields.String(allow_none=True, metadata=says("as the run that has added it gave it"))
    passages = fields.Integer(metadata=says("how many it has"))
    created_at = outputs.moment()
    updated_at = outputs.moment()


class NotAdded(outputs.Output):
    """A document that an ingestion could not add."""

    name = fields.String()
    problem = fields.String(metadata=says("why, as a sentence without its end"))
    url = fields.String(allow_none=True, metadata=says("of a web page"))
    file = outputs.identifier(
        allow_none=True, metadata=says("the uploaded file that it is, or in which it is")
    )


class Ingestion(outputs.Output):
    """A run that adds documents to a source."""

    run = fields.Nested(outputs.Run)
    added = fields.Integer(allow_none=True, metadata=says("how many it has added; null until it says so"))
    unchanged = fields.Integer(allow_none=True, metadata=says("how many were there as they are"))
    failed = fields.Integer(allow_none=True, metadata=says("how many could not be added"))
    problems = fields.List(fields.Nested(NotAdded), metadata=says("these, or the first hundred of them"))


class Passage(outputs.Output):
    """A passage that was found."""

    source_id = outputs.identifier()
    source = fields.String(metadata=says("its name"))
    document_id = outputs.identifier()
    document = fields.String(metadata=says("its name"))
    titles = fields.List(fields.String(), metadata=says("the headings above it, the outermost first"))
    position = fields.Integer(metadata=says("among the passages of its document, from 0"))
    text = fields.String()
    marks = outputs.marks("where the text has words that were searched")
    score = fields.Float(metadata=says("the greater, the better it fits; to be compared in one answer only"))


PASSAGES = outputs.wrapped("PassagesAnswer", items=fields.List(fields.Nested(Passage)))
ANSWER = outputs.wrapped(
    "SearchAnswer",
    items=fields.List(fields.Nested(Passage)),
    vectors=one_of(
        Vectors,
        metadata=says(
            "whether passages were found by what they mean, too: `used`; `none`: no embeddings endpoint is "
            "configured; `unavailable`: it has not answered as it should in time, or there are too many "
            "vectors to compare"
        ),
    ),
)
FOUND = outputs.wrapped("FoundDocumentAnswer", document=fields.Nested(Document, allow_none=True))
ADDED = outputs.wrapped(
    "DocumentAnswer",
    document=Document,
    changed=fields.Boolean(metadata=says("false: it is the same as before, and was not read again")),
)
