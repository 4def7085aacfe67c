"""Contents of files in an S3 server, by a web process under gevent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.testing.client import Client
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.web_process import stack_on_sqlite, web_only

pytestmark = pytest.mark.s3
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of a server, with an empty bucket."""
    for package in ("moto", "s3fs"):
        pytest.importorskip(package, reason="needs the extras s3 and s3-server")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(url), 60, what="the S3 server answers")
        httpx.put(f"{url}/files").raise_for_status()
        yield url
    finally:
        server.kill()
        server.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/moto-api/").is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, stack_redis: RedisServer, s3: str
) -> Iterator[Stack]:
    stack = stack_on_sqlite(tmp_path_factory.mktemp("stack"), sqlite_template, stack_redis)
    stack.environ |= {"FILES_URL": "s3://files/kept", "AWS_ENDPOINT_URL": s3, **CREDENTIALS}
    with web_only(stack) as running:
        yield running


def objects(s3: str) -> int:
    return httpx.get(f"{s3}/files?list-type=2").text.count("<Key>")


def upload(client: Client, content: bytes) -> dict[str, Any]:
    answer = client.post("/api/files", files={"file": ("a.bin", content)})
    assert answer.status_code == 201, answer.text
    return answer.json()["file"]  # type: ignore[no-any-return]


def test_a_content_is_kept_read_and_deleted(client: Client, s3: str, stack: Stack) -> None:
    content = bytes(range(256)) * 40_000  # more than is fetched at once
    first, second = (upload(client, content) for _ in range(2))
    path = f"/api/files/{first['id']}"

    assert objects(s3) == 1
    assert client.get(f"{path}/content").content == content
    assert client.get(f"{path}/content", headers={"Range": "bytes=9000000-9000003"}).content == content[64:68]
    assert client.delete(path).status_code == 204
    assert objects(s3) == 1
    assert client.delete(f"/api/files/{second['id']}").status_code == 204
    assert objects(s3) == 0
    assert [path for path in (stack.folder / "files").rglob("*") if path.is_file()] == []


def test_a_content_that_is_gone_is_told(client: Client, s3: str) -> None:
    file = upload(client, b"gone")
    httpx.post(f"{s3}/moto-api/reset").raise_for_status()
    httpx.put(f"{s3}/files").raise_for_status()

    answer = client.get(f"/api/files/{file['id']}/content")

    assert answer.status_code == 503
    assert "not there" in answer.json()["detail"]
