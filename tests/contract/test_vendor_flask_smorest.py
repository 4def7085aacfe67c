"""What flask-smorest and webargs do not document, and this project overrides, has not changed.

A failure here after an upgrade names what has changed: mend web/api/openapi.py or
web/http/parsing.py, or lower the bound in setup.cfg.
"""

from __future__ import annotations

import inspect

import flask_smorest
from flask_smorest.error_handler import ErrorHandlerMixin
from flask_smorest.spec import APISpecMixin, DocBlueprintMixin
from marshmallow import fields
from webargs import core
from webargs.flaskparser import FlaskParser


def test_a_blueprint_documents_views_by_its_callbacks() -> None:
    blueprint = flask_smorest.Blueprint("name", __name__)

    assert isinstance(blueprint._prepare_doc_cbks, list)  # extended by web.api.openapi.Blueprint
    for callback in blueprint._prepare_doc_cbks:
        assert list(inspect.signature(callback).parameters)[:2] == ["doc", "doc_info"]


def test_a_blueprint_is_served_and_described_by_these_steps_of_its_registration() -> None:
    registered = inspect.getsource(flask_smorest.Api.register_blueprint)
    for step in (
        'self._app.extensions["flask-smorest"]["blp_name_to_api"][blp_name] = self',
        "self._app.register_blueprint(blp, **options)",
        "blp.register_views_in_doc(",
        'self.spec.tag({"name": blp_name, "description": blp.description})',
    ):
        assert registered.count(step) == 1, step
    assert registered.count("self.") == 5
    assert list(inspect.signature(flask_smorest.Blueprint.register_views_in_doc).parameters) == [
        "self",
        "api",
        "app",
        "spec",
        "name",
        "parameters",
    ]


def test_the_responses_of_every_status_are_described_by_one_method_of_the_api() -> None:
    assert inspect.getsource(APISpecMixin._init_spec).count("self._register_responses()") == 1
    described = inspect.getsource(APISpecMixin._register_responses)
    assert described.count("self.spec.components.response(") == described.count("lazy=True") == 2


def test_the_document_is_served_and_errors_are_answered_by_methods_of_the_api() -> None:
    assert "view_func=self._openapi_json" in inspect.getsource(DocBlueprintMixin)
    assert "self.handle_http_exception" in inspect.getsource(ErrorHandlerMixin)
    assert list(inspect.signature(ErrorHandlerMixin.handle_http_exception).parameters) == ["self", "error"]


def test_a_json_body_is_loaded_by_one_method_of_the_parser() -> None:
    assert "self._raw_load_json(req)" in inspect.getsource(core.Parser.load_json)
    assert list(inspect.signature(FlaskParser.load_querystring).parameters) == ["self", "req", "schema"]
    assert list(inspect.signature(core.Parser.handle_error).parameters)[:4] == [
        "self",
        "error",
        "req",
        "schema",
    ]
    assert "query" in FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION


def test_a_number_is_validated_by_one_method_of_the_field() -> None:
    assert "self._validated(value)" in inspect.getsource(fields.Number._deserialize)
