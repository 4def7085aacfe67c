"""Holds answers to the OpenAPI document of the app that gave them."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from typing import Any

import jsonschema
import orjson
from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


_FOR_ANYBODY = "/static/panel/"
"""Scripts that pages of other origins load."""


def check_safe(headers: Mapping[str, str], path: str = "") -> None:
    """Raise AssertionError where an answer's headers let a browser do what it need not."""
    policy = headers["Content-Security-Policy"].split("; ")
    scripts = {"sandbox"} if "sandbox" in policy else {"script-src 'self'", "style-src 'self'"}
    assert {"default-src 'none'", *scripts} <= set(policy), policy
    assert {"base-uri 'none'", "frame-ancestors 'none'"} <= set(policy), policy
    assert "unsafe" not in headers["Content-Security-Policy"]
    safe = dict(_SAFE)
    if path.startswith(_FOR_ANYBODY) and headers.get("Access-Control-Allow-Origin") == "*":
        safe["Cross-Origin-Resource-Policy"] = "cross-origin"
    assert {name: headers.get(name) for name in safe} == safe
    assert "camera=()" in headers["Permissions-Policy"]
    assert headers["Cache-Control"]


class Contract:
    """The promises of an app."""

    def __init__(self, app: Flask) -> None:
        api = app.extensions["flask-smorest"]["apis"][""]["ext_obj"]
        self.document: dict[str, Any] = orjson.loads(api.document)
        self._components = {"schemas": closed(self.document["components"]["schemas"])}
        self._app = app
        self._validators: dict[str, Any] = {}

    def check(self, response: TestResponse) -> None:
        """Raise AssertionError where the document does not allow ``response``."""
        request = response.request
        check_safe(response.headers, request.path)
        if not request.path.startswith(("/api/", "/worker/")) or request.path.startswith("/api/docs"):
            return
        if response.status_code >= 400:
            assert response.mimetype == "application/problem+json", response.mimetype
            self._check_schema({"$ref": "#/components/schemas/Problem"}, response)
            return
        operation = self._operation(request.method, request.path)
        if operation is None or request.method == "HEAD" or response.status_code == 304:
            return
        promised = operation["responses"].get(str(response.status_code))
        assert promised is not None, (
            f"{request.method} {request.path}: {response.status_code} is not documented"
        )
        content = promised.get("content", {})
        if not content:
            assert not response.data, "there is a body where none is documented"
        elif response.mimetype == "application/json":
            assert "application/json" in content, f"{request.path}: JSON is not documented"
            self._check_schema(content["application/json"]["schema"], response)

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        adapter = self._app.url_map.bind("localhost")
        rule, _ = adapter.match(path, method=method, return_rule=True)
        return self.document["paths"].get(template(rule), {}).get(method.lower())

    def _check_schema(self, schema: dict[str, Any], response: TestResponse) -> None:
        key = str(schema)
        if key not in self._validators:
            self._validators[key] = jsonschema.Draft202012Validator(
                {"components": self._components, **schema}
            )
        for error in self._validators[key].iter_errors(_body(response)):
            raise AssertionError(f"{response.request.path}: {error.json_path}: {error.message}")


def _body(response: TestResponse) -> Any:
    data = response.get_data()
    return orjson.loads(gzip.decompress(data) if response.content_encoding == "gzip" else data)


def template(rule: Rule) -> str:
    """The path of a rule as the OpenAPI document has it."""
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)


def closed(schemas: dict[str, Any]) -> dict[str, Any]:
    """The schemas, where what they do not name is forbidden: an answer must not surprise."""
    return {
        name: {**schema, "additionalProperties": schema.get("additionalProperties", False)}
        if "properties" in schema
        else schema
        for name, schema in schemas.items()
    }
