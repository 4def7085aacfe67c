"""Fixtures for tests of the web process: an app of the test's own, and clients for it.

Every answer that a client gets is held to the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from runtime import settings as settings_module
from runtime.settings import Settings
from runtime.testing.client import PASSWORD
from tests.support.contract import Contract
from web.app import create_app
from web.core import Core
from web.security.passwords import Passwords

SCHEMA = """{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {"tone": {"enum": ["kind", "terse"], "default": "kind"}, "length": {"type": "integer"}},
  "additionalProperties": false
}"""

MANIFEST = """
id = "{id}"
name = "Parrot"
description = "Says what it heard."
type = "exec"
command = ["cat"]
config_schema_path = "config_schema.json"
{more}
"""


class Client(FlaskClient):
    """A client that signs up, and that believes no answer the OpenAPI document does not allow."""

    contract: Contract
    user: dict[str, Any]

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send a request and check the answer."""
        response = super().open(*args, **kwargs)
        self.contract.check(response)
        return response

    def sign_up(self, name: str) -> Client:
        """Make an account and keep its cookie."""
        credentials = {"email": f"{name}@example.com", "password": PASSWORD}
        answer = self.post("/api/auth/register", json=credentials)
        assert answer.status_code == 201, answer.text
        self.user = answer.json["user"]
        return self

    def thread(self, **body: Any) -> dict[str, Any]:
        """A new thread."""
        answer = self.post("/api/threads", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json["thread"]

    def say(self, thread: dict[str, Any], text: str, parent: str | None = None) -> dict[str, Any]:
        """A new state with one message of the user."""
        body = {
            "parent_id": parent or thread["root_state_id"],
            "messages": [{"role": "user", "content": text}],
        }
        answer = self.post(f"/api/threads/{thread['id']}/states", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json["state"]

    def ask(self, thread: dict[str, Any], text: str = "Hello", **body: Any) -> TestResponse:
        """Ask the worker ``parrot`` something."""
        request = {
            "input_state_id": thread["root_state_id"],
            "messages": [{"role": "user", "content": text}],
            "worker_id": "parrot",
            **body,
        }
        return self.post(f"/api/threads/{thread['id']}/runs", json=request)


def write_worker(folder: Path, worker_id: str, more: str = "") -> None:
    """A worker's folder."""
    (folder / worker_id).mkdir(parents=True)
    (folder / worker_id / "worker.toml").write_text(MANIFEST.format(id=worker_id, more=more))
    (folder / worker_id / "config_schema.json").write_text(SCHEMA)


@pytest.fixture
def worker_folder(tmp_path: Path) -> Path:
    """Workers: ``parrot``, and ``locked``, whose secret is not set."""
    folder = tmp_path / "workers"
    write_worker(folder, "parrot")
    write_worker(folder, "locked", 'pool = "locked"\nenv = ["A_SECRET_THAT_NOBODY_SET"]')
    return folder


@pytest.fixture
def web_environ(tmp_path: Path, database_url: str, redis_url: str, worker_folder: Path) -> dict[str, str]:
    """The environment of the web process under test."""
    return {
        "BRANCHLINE_HOME": str(tmp_path / "home"),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "WORKERS_PATH": str(worker_folder),
        "BRANCHLINE_SECURITY_SECRET_KEY": "a key for tests that is long enough",
    }


@pytest.fixture
def web_settings(web_environ: dict[str, str]) -> Settings:
    """The settings of the app under test."""
    return settings_module.load(web_environ)


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """What every app promises, whatever its settings."""
    home = tmp_path_factory.mktemp("contract")
    return Contract(create_app(settings_module.load({"BRANCHLINE_HOME": str(home)})))


@pytest.fixture
def app(web_settings: Settings, contract: Contract) -> Iterator[Flask]:
    """An app of the test's own."""
    app = create_app(web_settings)
    app.test_client_class = Client
    Client.contract = contract
    core = app.extensions["branchline"]
    core.passwords = Passwords(10, argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    yield app
    core.end_streams()
    core.database.close()
    core.link.close()


@pytest.fixture
def core(app: Flask) -> Core:
    """What the app works with."""
    return app.extensions["branchline"]


@pytest.fixture
def nobody(app: Flask) -> Client:
    """A client that is not signed in."""
    return app.test_client()


@pytest.fixture
def ada(app: Flask) -> Client:
    """A client with an account."""
    return app.test_client().sign_up("ada")


@pytest.fixture
def bob(app: Flask) -> Client:
    """A client with another account."""
    return app.test_client().sign_up("bob")
