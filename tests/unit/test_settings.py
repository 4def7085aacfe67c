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


def test_a_guessable_previous_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="SECRET_KEY_PREVIOUS"):
        settings.load({"HOST": "0.0.0.0", **SAFE, "BRANCHLINE_SECURITY_SECRET_KEY_PREVIOUS": "old"})


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


def test_relative_folders_are_the_same_in_every_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings.load({"BRANCHLINE_HOME": "data", "WORKERS_PATH": "mine:/srv/workers"})
    assert found.home == settings.CHECKOUT / "data"
    assert found.worker_folders[1:] == (settings.CHECKOUT / "mine", Path("/srv/workers"))


@pytest.mark.parametrize(
    ("name", "url", "why"),
    [
        ("REDIS_URL", "127.0.0.1:6379", "not a URL; write redis://"),
        ("REDIS_URL", "reddis://s3cr3t@h/0", "did you mean redis://"),
        ("REDIS_URL", "sentinel://:s3cr3t@h:26379/0", "master_name"),
        ("REDIS_URL", "redis://h:6379/cache", "number of a database"),
        ("REDIS_URL", "redis://:s3cr3t@h/0?ssl_ca_certs=/ca.pem", "asks for no TLS; write rediss://"),
        ("REDIS_URL", "redis://:s3cr3t@h/0?ssl=true", "write rediss://"),
        ("BROKER_URL", "sentinel://:s3cr3t@h?master_name=a&ssl_ca_certs=/ca.pem", "no TLS; add ssl=true"),
        ("BROKER_URL", "sentinel://h;sentinel://:s3cr3t@g?master_name=a&ssl=yes", "ssl=true or ssl=false"),
        ("REDIS_URL", "http://h", "redis, rediss, unix"),
        ("BROKER_URL", "ampq://ada:s3cr3t@h", "did you mean amqp://"),
        ("BROKER_URL", "amqp://h;sqs://s3cr3t", "amqp, amqps"),
        ("DATABASE_URL", "postgres//s3cr3t", "not a URL; write postgresql://"),
        ("DATABASE_URL", "postgre://ada:s3cr3t@h/x", "did you mean postgres"),
        ("DATABASE_URL", "mysql://ada:s3cr3t@h/x", "write one of postgresql"),
        ("API_URL", "localhost:8000", "not a URL"),
        ("API_URL", "http:///x", "no host"),
        ("API_URL", "http://[::1", "not a URL"),
    ],
)
def test_a_url_of_another_kind_is_refused_and_not_shown(name: str, url: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings.load({name: url})
    assert str(refused.value).startswith(name) and why in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("scheme", checks.SCHEMES["DATABASE_URL"])
def test_every_scheme_of_a_database_is_one_that_its_address_knows(scheme: str) -> None:
    assert database_address.parse(f"{scheme}:///name")


@pytest.mark.parametrize(
    ("host", "bound", "url"),
    [
        ("127.0.0.1", "127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("0.0.0.0", "0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("::", "[::]:8000", "http://[::1]:8000"),
        ("[::1]", "[::1]:8000", "http://[::1]:8000"),
        ("fe80::1%eth0", "[fe80::1%eth0]:8000", "http://[fe80::1%eth0]:8000"),
        ("10.1.2.3", "10.1.2.3:8000", "http://10.1.2.3:8000"),
        ("localhost", "localhost:8000", "http://localhost:8000"),
    ],
)
def test_what_is_listened_on_can_be_reached(host: str, bound: str, url: str) -> None:
    found = settings.load({"HOST": host, "BRANCHLINE_SECURITY_INSECURE": "true"})
    assert (found.authority(8000), found.api_url) == (bound, url)
    assert found.flower_url == url.replace("8000", "5555")
    assert settings.load({"API_URL": "https://chat.example.com/"}).api_url == "https://chat.example.com"


@pytest.mark.parametrize("given", ["/branchline", "/branchline/", "/a.b/~ada/v1_2-x"])
def test_everything_is_below_the_base_path(given: str) -> None:
    found = settings.load({"BASE_PATH": given})
    base = given.rstrip("/")
    assert (found.base_path, found.web_url) == (base, f"http://127.0.0.1:8000{base}")
    assert found.api_url == found.web_url
    assert found.flower_url == f"http://127.0.0.1:5555{base}/flower"
    assert settings.load({"BASE_PATH": given, "API_URL": f"http://web{base}/"}).api_url == f"http://web{base}"


@pytest.mark.parametrize(
    "path",
    ["branchline", "branchline/", "/", "//x", "/a//b", "/a b", "/a/../b", "/.", "/..", "/a?b", "/a%20b"],
)
def test_what_is_no_base_path_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"BASE_PATH=.* is not a path such as /") as refused:
        settings.load({"BASE_PATH": path})
    assert ";" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://web:8000", "http://web/other", "http://web/branchline/api"])
def test_an_api_url_without_the_base_path_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="API_URL does not end with BASE_PATH"):
        settings.load({"BASE_PATH": "/branchline", "API_URL": url})


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "http://h", "a b", "::zz"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="HOST"):
        settings.load({"HOST": host, "BRANCHLINE_SECURITY_INSECURE": "true"})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BRANCHLINE_POOL_SLOT", "BRANCHLINE_POOL_SLOTS"),
        ("BRANCHLINE_SECURTY_SECRET_KEY", "BRANCHLINE_SECURITY_SECRET_KEY"),
        ("BRANCHLINE_WEB_HOST", "BRANCHLINE_WEB_HOSTS"),
        ("BRANCHLINE_DATABASE_URL", "DATABASE_URL"),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_one_that_is_meant(name: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name} is no setting; did you mean {meant}\?"):
        settings.load({name: "1"})


@pytest.mark.parametrize(
    "name", ["BRANCHLINE_RUN_ID", "BRANCHLINE_RUN_TOKEN", "BRANCHLINE_API_URL", "BRANCHLINE_TOKEN"]
)
def test_a_variable_that_is_no_setting_is_left_to_others(name: str) -> None:
    settings.load({name: "1"})


@pytest.mark.parametrize("name", ["a b", "North", "a.b", "x" * 41, "*", "-x"])
def test_an_installation_has_a_plain_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="BRANCHLINE_INSTALLATION"):
        settings.load({"BRANCHLINE_INSTALLATION": name})


def test_agents_of_the_panel_are_named_by_type() -> None:
    usual = {"rag": "rag_agent", "document": "document_agent", "task": "task_agent"}
    assert settings.load({}).panel_agents == usual
    given = settings.load({"PANEL_AGENTS": " rag = echo, task=planner_agent,"})
    assert given.panel_agents == {**usual, "rag": "echo", "task": "planner_agent"}


@pytest.mark.parametrize("text", ["echo", "rag=", "other=echo"], ids=["no type", "no worker", "unknown type"])
def test_a_list_of_agents_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="PANEL_AGENTS"):
        settings.load({"PANEL_AGENTS": text})


def test_where_there_is_a_service_of_agents_they_are_workers_that_ask_it() -> None:
    given = settings.load({"PANEL_AGENTS": "rag=echo", "AGENT_SERVICE_URL": "http://agents:8052"})
    served = {"rag": "rag_service", "document": "document_service", "task": "task_service"}
    assert given.panel_agents == served
    with pytest.raises(ConfigurationError, match="AGENT_SERVICE_URL is not a URL"):
        settings.load({"AGENT_SERVICE_URL": "agents:8052"})


def test_origins_are_read_as_browsers_send_them() -> None:
    assert settings.load({}).panel_origins == ()
    given = settings.load({"PANEL_ORIGINS": " https://App.example.com/ ,http://[::1]:3000,"})
    assert given.panel_origins == ("https://app.example.com", "http://[::1]:3000")


@pytest.mark.parametrize(
    "text", ["*", "null", "app.example.com", "https://app.example.com/page", "https://a b"],
    ids=["all", "none", "no scheme", "a path", "a space"],
)  # fmt: skip
def test_an_origin_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="PANEL_ORIGINS"):
        settings.load({"PANEL_ORIGINS": text})


EMBEDDINGS = {
    "BRANCHLINE_EMBEDDINGS_URL": "http://127.0.0.1:11434/v1",
    "BRANCHLINE_EMBEDDINGS_MODEL": "small",
    "BRANCHLINE_EMBEDDINGS_KEY": "a-secret-key",
}


def test_an_embeddings_endpoint_is_configured_by_its_address_and_model() -> None:
    assert settings.load({}).embeddings.url == ""
    assert settings.load(EMBEDDINGS).embeddings.model == "small"


@pytest.mark.parametrize(
    ("name", "value"),
    [("MODEL", ""), ("URL", "ftp://example.com"), ("URL", "http://"), ("BATCH", "0"), ("BATCH", "2049"),
     ("TIMEOUT", "0"), ("QUERY_TIMEOUT", "0"), ("SIMILARITY", "1.1")],
    ids=["model", "scheme", "host", "batch", "large batch", "timeout", "query", "similarity"],
)  # fmt: skip
def test_an_embeddings_endpoint_that_cannot_be_asked_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"BRANCHLINE_EMBEDDINGS_{name}") as refused:
        settings.load({**EMBEDDINGS, f"BRANCHLINE_EMBEDDINGS_{name}": value})

    assert "a-secret-key" not in str(refused.value)
