"""Settings: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import settings
from runtime.errors import ConfigurationError
from runtime.settings import checks, database_address

KEY = {"BRANCHLINE_SECURITY_SECRET_KEY": "gHq2-vX9_bT4kLm8Zr1sWc6yPd3nJf7a"}
TLS = {"BRANCHLINE_SECURITY_COOKIE_SECURE": "true"}
HOSTS = {"BRANCHLINE_WEB_HOSTS": "chat.example.com"}
SAFE = {**KEY, **TLS, **HOSTS}
REACHABLE = [
    {"HOST": "0.0.0.0"},
    {"HOST": "::"},
    {"HOST": "10.1.2.3"},
    {"BRANCHLINE_WEB_TRUSTED_PROXIES": "1"},
]


@pytest.mark.parametrize("where", REACHABLE)
def test_a_reachable_server_refuses_to_start_as_in_development(where: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings.load(where)

    [(name, value)] = where.items()
    for word in (f"{name}={value}", *SAFE, "BRANCHLINE_SECURITY_INSECURE=true"):
        assert word in str(refused.value)


@pytest.mark.parametrize("where", REACHABLE)
def test_a_reachable_server_starts_with_a_key_and_tls_and_its_name(where: dict[str, str]) -> None:
    assert settings.load({**where, **SAFE}).deployed


@pytest.mark.parametrize("missing", SAFE)
def test_a_reachable_server_refuses_to_start_without_one_of_these(missing: str) -> None:
    given = {name: value for name, value in SAFE.items() if name != missing}

    with pytest.raises(ConfigurationError) as refused:
        settings.load({"HOST": "0.0.0.0", **given})

    assert missing in str(refused.value)
    assert not any(name in str(refused.value) for name in given)


@pytest.mark.parametrize("key", ["short", "x" * 64, "changeme" * 8])
def test_a_guessable_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings.load({"HOST": "0.0.0.0", **SAFE, "BRANCHLINE_SECURITY_SECRET_KEY": key})

    assert "BRANCHLINE_SECURITY_SECRET_KEY" in str(refused.value)
    assert key not in str(refused.value)


def test_a_reachable_server_starts_as_in_development_when_allowed() -> None:
    assert settings.load({"HOST": "0.0.0.0", "BRANCHLINE_SECURITY_INSECURE": "true"}).deployed


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_server_on_loopback_starts_without_settings(host: str) -> None:
    assert not settings.load({"HOST": host}).deployed


def test_host_names_are_compared_in_lower_case_and_without_the_last_dot() -> None:
    given = {"BRANCHLINE_WEB_HOSTS": " Chat.Example.COM. , .example.org,[::1], "}
    assert settings.load(given).web_hosts == ("chat.example.com", ".example.org", "::1")


@pytest.mark.parametrize(
    "name", ["https://a.example", "a.example:8000", "a.example/b", "b\u00fccher.example", "*", "."]
)
def test_what_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="BRANCHLINE_WEB_HOSTS"):
        settings.load({"BRANCHLINE_WEB_HOSTS": name})


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "BROKER_URL"])
def test_a_password_that_breaks_its_url_is_not_shown(name: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings.load({name: "redis://user:s3cr3t/#@host:6379/0"})

    assert name in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


def test_a_broker_url_may_name_several_brokers() -> None:
    urls = "amqp://one:5672;amqp://two:5672"
    assert settings.load({"BROKER_URL": urls}).broker_url == urls


def test_a_secret_is_read_once(tmp_path: Path) -> None:
    made = settings.stored_secret(tmp_path / "secret")
    (tmp_path / "secret").unlink()
    assert settings.stored_secret(tmp_path / "secret") == made


def test_a_secret_that_another_process_is_about_to_write_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.touch()
    found = iter(["", "", "written\n"])
    monkeypatch.setattr(Path, "read_text", lambda _: next(found))

    assert settings.stored_secret(path) == "written"


def test_a_secret_that_nobody_writes_is_reported_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.touch()
    monkeypatch.setattr(settings, "_WRITE_TIMEOUT", 0.05)  # not a setting, and two seconds long

    with pytest.raises(ConfigurationError, match="is empty; delete it"):
        settings.stored_secret(path)
