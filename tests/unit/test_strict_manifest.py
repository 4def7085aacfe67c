"""What worker.toml may say of the network of a strict worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.errors import WorkerInvalid
from runtime.registry import Worker, load
from runtime.sandbox.rules import Credential, Level

PYTHON = 'id = "w"\nname = "W"\ntype = "python"\nentrypoint_path = "w.py"\n'
STRICT = '[sandbox]\nlevel = "strict"\n'
CREDENTIAL = '[sandbox.credentials."api.example.com"]\nenv = "KEY"\nbase_url_env = "URL"\n'


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Worker]:
    def read(manifest: str) -> Worker:
        (tmp_path / "w.py").touch()
        (tmp_path / "worker.toml").write_text(PYTHON + manifest)
        return load(tmp_path)

    return read


def test_all_of_it_can_be_said(read: Callable[[str], Worker]) -> None:
    rules = read(
        STRICT
        + 'connect = ["api.example.com", "*.example.org:8443", "10.0.0.0/8"]\n'
        + CREDENTIAL
        + '[sandbox.credentials."LLM.example.com:8443"]\nenv = "OTHER"\nbase_url_env = "OTHER_URL"\n'
        + 'path = "/v1"\nheader = "x-api-key"\nformat = "{}"\n'
    ).sandbox
    assert rules.level is Level.STRICT
    assert rules.connect == ("api.example.com", "*.example.org:8443", "10.0.0.0/8")
    assert rules.credentials == (
        Credential("api.example.com", "KEY", "URL", "", "Authorization", "Bearer {}"),
        Credential("llm.example.com:8443", "OTHER", "OTHER_URL", "/v1", "x-api-key", "{}"),
    )


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ('[sandbox]\nconnect = ["a.example"]', 'connect: means something at level = "strict" only'),
        ('[sandbox]\nlevel = "none"\n' + CREDENTIAL, 'credentials: means something at level = "strict"'),
        (STRICT + 'connect = ["http://a.example"]', "is neither the name of a host nor an address"),
        (STRICT + 'connect = ["a.example:0"]', "has no port between"),
        (STRICT + 'connect = ["10.0.0.1/8"]', "is neither"),
        (STRICT + '[sandbox.credentials."*.example.com"]\nenv = "A"\nbase_url_env = "B"', "name of one host"),
        (STRICT + '[sandbox.credentials."10.0.0.1"]\nenv = "A"\nbase_url_env = "B"', "name of one host"),
        (STRICT + '[sandbox.credentials."a.example"]\nenv = "A"', "base_url_env: Missing data"),
        (STRICT + CREDENTIAL + 'path = "v1"', "path: must be like"),
        (STRICT + CREDENTIAL + 'path = "/v1/"', "path: must be like"),
        (STRICT + CREDENTIAL + 'header = "a b"', "header: must be the name of a header"),
        (STRICT + CREDENTIAL + 'format = "Bearer"', "format: must have one {}"),
        (STRICT + CREDENTIAL + 'format = "{}\\n{}"', "format: must have one {}"),
        (STRICT + CREDENTIAL + 'value = "sk-1"', "Unknown field"),
        ('env = ["KEY"]\n' + STRICT + CREDENTIAL, "env: gives the worker KEY"),
        (STRICT + 'env = ["KEY?"]\n' + CREDENTIAL, "env: gives the worker KEY"),
    ],
)
def test_what_makes_no_sense_is_refused(read: Callable[[str], Worker], manifest: str, words: str) -> None:
    with pytest.raises(WorkerInvalid) as refused:
        read(manifest)
    assert words in str(refused.value)
