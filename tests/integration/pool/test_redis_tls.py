"""Redis over TLS: the client of the event log and the one of the queues verify its certificate alike."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import kombu.exceptions
import pytest
import redis

from runtime.queue.app import make_celery
from runtime.settings import load
from runtime.stream import Link
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from tests.support.sentinel import NAME, sentinel
from tests.support.watcher import assert_flower_watches


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certify(folder: Path, name: str, host: str) -> None:
    """A certificate for ``host``, signed by the folder's own CA."""
    (folder / f"{name}.ext").write_text(f"subjectAltName = {host}\n")
    openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
            "-subj", "/CN=redis")  # fmt: skip
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
            "-CAcreateserial", "-extfile", f"{name}.ext", "-out", f"{name}.pem")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA of our own, and two certificates: for this address, and for another host."""
    folder = tmp_path_factory.mktemp("certificates")
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-days", "2", "-subj", "/CN=our own CA")  # fmt: skip
    certify(folder, "ours", "IP:127.0.0.1")
    certify(folder, "other", "DNS:redis.example.com")
    return folder


@pytest.fixture(scope="module", params=["ours", "other"])
def name(request: pytest.FixtureRequest) -> str:
    """Which certificate the servers show."""
    return str(request.param)


@pytest.fixture(scope="module")
def certificate(folder: Path, name: str) -> dict[str, str]:
    """The servers' options for it."""
    files = {"cert": f"{name}.pem", "key": f"{name}.key", "ca-cert": "ca.pem"}
    return {f"tls-{kind}-file": str(folder / file) for kind, file in files.items()}


@pytest.fixture(scope="module")
def server(certificate: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis that speaks TLS."""
    port = free_port()
    named = [part for option, file in certificate.items() for part in (f"--{option}", file)]
    options = ["--tls-port", str(port), "--tls-auth-clients", "no", *named]
    with RedisServer(tmp_path_factory.mktemp("redis"), *options):
        yield f"rediss://127.0.0.1:{port}/3?"


@pytest.fixture(scope="module")
def watched(
    server: str, certificate: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a sentinel that watches it, of two of which one is away."""
    primary = urlsplit(server).port
    assert primary is not None
    with sentinel(tmp_path_factory.mktemp("sentinel"), primary, certificate) as port:
        one = f"sentinel://127.0.0.1:{free_port()}"
        yield f"{one};sentinel://127.0.0.1:{port}/3?master_name={NAME}&ssl=true&"


@pytest.mark.parametrize("which", ["server", "watched"])
@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ("", set()),
        ("ssl_ca_certs={ca}", {"ours"}),
        ("ssl_ca_certs={ca}&ssl_check_hostname=false", {"ours", "other"}),
        ("ssl_cert_reqs=none", {"ours", "other"}),
    ],
    ids=["no CA", "our CA", "whatever its name", "whatever it shows"],
)
def test_both_clients_verify_the_server_alike(
    request: pytest.FixtureRequest, name: str, folder: Path, which: str, options: str, accepted: set[str]
) -> None:
    url = request.getfixturevalue(which) + options.format(ca=folder / "ca.pem")
    settings = load({"REDIS_URL": url})

    assert (log_connects(url), queue_connects(url)) == (name in accepted, name in accepted)
    assert settings.broker_url == url


@pytest.mark.parametrize("name", ["ours"], indirect=True)
def test_flower_shows_the_queues_and_the_tasks_over_tls(watched: str, folder: Path, tmp_path: Path) -> None:
    assert_flower_watches(f"{watched}ssl_ca_certs={folder / 'ca.pem'}", tmp_path)


def log_connects(url: str) -> bool:
    link = Link(url, load({}).redis)
    try:
        return bool(link.client.ping())
    except redis.exceptions.ConnectionError as error:
        return refused(error)
    finally:
        link.close()


def queue_connects(url: str) -> bool:
    with make_celery(load({"REDIS_URL": url})) as app, app.connection_for_write() as connection:
        try:
            client = connection.default_channel.client
            assert client.connection_pool.connection_kwargs["db"] == 3
            client.ping()
        except (redis.exceptions.ConnectionError, kombu.exceptions.OperationalError) as error:
            return refused(error)
        return True


def refused(error: Exception) -> bool:
    """False for an error that says that the certificate is not accepted."""
    if "certificate" not in str(error).lower():
        raise error
    return False
