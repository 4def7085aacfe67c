"""The OpenAPI document, made of the views and their schemas, and the page to try them.

flask-smorest reads the decorators of the views; here is what it does differently
in this project: ids in paths, problem documents for every error, and a page that
loads nothing from elsewhere.
"""

from __future__ import annotations

import re
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any

import flask_smorest
import flask_swagger_ui
import marshmallow as ma
import orjson
from flask import Flask, Response, render_template, send_from_directory
from werkzeug.exceptions import HTTPException
from werkzeug.routing import UUIDConverter

from runtime.transfer.kinds import Config, Object, Part
from web.api import body_limits, bounds
from web.api.schemas.outputs import Problem
from web.http import problems
from web.http.parsing import Parser
from web.http.responses import with_etag
from web.security import scope

_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
_PROBLEM = "application/problem+json"

_CONFIG = {
    "API_TITLE": "Branchline",
    "API_VERSION": "1",
    "OPENAPI_VERSION": "3.1.0",
    "OPENAPI_URL_PREFIX": "/api",
    "OPENAPI_JSON_PATH": "openapi.json",
}

_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
"""A parameter in a path, as Flask writes it."""

_SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API token, the token that signing in with `token: true` returns, or that of "
        "a session, which is for one thread.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "description": "Set by signing in. Its name ends with a digest of this deployment's secret key.",
    },
    "pool": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of a pool, for a machine that executes its runs.",
    },
    "run": {
        "type": "http",
        "scheme": "bearer",
        "description": "A worker's run token, BRANCHLINE_RUN_TOKEN; valid until its attempt ends.",
    },
}


class IdConverter(UUIDConverter):
    """An id in a path, in lower case. Anything else does not match, which is a 404."""

    def to_python(self, value: str) -> str:  # type: ignore[override]
        """The id as the store knows it."""
        return str(uuid.UUID(value))

    def to_url(self, value: Any) -> str:
        """The id as it is."""
        return str(value)


class _ScopedParser(Parser):
    """A parser of requests whose token may be for one thread."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        """What the request says. Raises NotFound where it names files that its token does not reach."""
        given = super().parse(*args, **kwargs)
        scope.check_given(given)
        return given


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """Views that are part of the OpenAPI document."""

    ARGUMENTS_PARSER = _ScopedParser()

    def __init__(
        self, name: str, import_name: str, *, security: tuple[str, ...] = ("bearer", "cookie"), **options: Any
    ) -> None:
        """``security``: the schemes that authenticate a client; none for a public view."""
        super().__init__(name, import_name, **options)
        self._security: list[dict[str, list[str]]] = [{scheme: []} for scheme in security]
        self._prepare_doc_cbks.append(self._prepare_errors_doc)

    def arguments(self, schema: type[ma.Schema], **options: Any) -> Any:
        """Check the body, or another ``location``, by ``schema``; made once, not for each request."""
        if options.get("location", "json") == "json":
            options["required"] = getattr(schema, "required_body", False)
        return super().arguments(schema(), **options)

    def _prepare_errors_doc(self, doc: Any, doc_info: Any, **kwargs: Any) -> Any:
        doc["security"] = self._security
        doc.setdefault("responses", {})["default"] = "DEFAULT_ERROR"
        return doc


class Api(flask_smorest.Api):  # type: ignore[misc]
    """flask-smorest as this project uses it."""

    ERROR_SCHEMA = Problem

    _undescribed: list[Blueprint]
    """Blueprints whose views are served, and not described in ``spec`` yet."""

    _has_responses = False
    """Whether the responses of every status are in ``spec``."""

    def init_app(self, app: Flask, **options: Any) -> None:
        """Serve the document and its page; blueprints are registered afterwards."""
        self._undescribed = []
        app.config.update(_CONFIG)
        if (base_path := app.config["APPLICATION_ROOT"]) != "/":
            app.config["API_SPEC_OPTIONS"] = {"servers": [{"url": base_path}]}
        app.url_map.converters["id"] = IdConverter
        super().init_app(app, **options)
        self.register_converter(IdConverter, lambda converter: {"type": "string", "format": "uuid"})
        for kind in (Part, Object, Config):
            self.register_field(kind, "object", None)
        self.ma_plugin.converter.add_attribute_function(bounds.of_field)
        bounds.register(self._spec)
        cookie = {**_SECURITY["cookie"], "name": app.config["SESSION_COOKIE_NAME"]}
        for name, scheme in {**_SECURITY, "cookie": cookie}.items():
            self._spec.components.security_scheme(name, scheme)
        app.add_url_rule("/api/docs", "api_docs", _page)
        app.add_url_rule("/api/docs/<path:file>", "api_docs_file", _file)

    def register_blueprint(self, blueprint: Blueprint) -> None:
        """Serve the views of a blueprint; see ``spec`` for their description."""
        self._app.extensions["flask-smorest"]["blp_name_to_api"][blueprint.name] = self
        self._app.register_blueprint(blueprint)
        self._undescribed.append(blueprint)

    @property
    def spec(self) -> Any:
        """What apispec knows of the views: all of them, from the first time on that somebody asks."""
        blueprints, self._undescribed = self._undescribed, []
        if blueprints and not self._has_responses:
            self._has_responses = True
            super()._register_responses()
        for blueprint in blueprints:
            blueprint.register_views_in_doc(self, self._app, self._spec, name=blueprint.name, parameters=None)
            self._spec.tag({"name": blueprint.name, "description": blueprint.description})
        return self._spec

    @spec.setter
    def spec(self, spec: Any) -> None:
        self._spec = spec

    def _register_responses(self) -> None:
        """Nothing yet: see ``spec``, for there are sixty."""

    def handle_http_exception(self, error: HTTPException) -> Any:
        """Errors are answered by :mod:`web.http.problems`."""
        return problems.answer_http_error(error)

    @cached_property
    def document(self) -> bytes:
        """The document as JSON, once all blueprints are registered."""
        document = self.spec.to_dict()
        bounds.complete(document)
        self._describe_body_limits(document["paths"])
        for response in document["components"]["responses"].values():
            content = response.get("content", {})
            if "application/json" in content:
                content[_PROBLEM] = content.pop("application/json")
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)

    def _describe_body_limits(self, paths: dict[str, Any]) -> None:
        largest = (
            self._app.config["MAX_CONTENT_LENGTH"],
            self._app.config["MAX_FILE_SIZE"],
        )
        for rule in self._app.url_map.iter_rules():
            operations = paths.get(_PARAMETER.sub(r"{\1}", rule.rule), {})
            for method in (rule.methods or set()) & {"POST", "PATCH"}:
                if body := operations.get(method.lower(), {}).get("requestBody"):
                    bytes_allowed = body_limits.limit(rule.endpoint, *largest)
                    body["description"] = f"At most {bytes_allowed} bytes, else 413."

    def _openapi_json(self) -> Response:
        return with_etag(Response(self.document, mimetype="application/json"))


def _page() -> Response:
    return Response(render_template("docs.html"), mimetype="text/html")


def _file(file: str) -> Response:
    return send_from_directory(_SWAGGER_UI, file, max_age=86400)
