"""What a record looks like, what it is about, and how often the same is logged."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import gevent
import pytest

from runtime import logs
from runtime.errors import ConfigurationError
from runtime.settings import load


@pytest.fixture(autouse=True)
def about_nothing() -> Iterator[None]:
    logs.begin()
    yield
    logs.begin()


@pytest.fixture(params=["text", "json"])
def written(request: pytest.FixtureRequest) -> tuple[str, logging.Logger, io.StringIO]:
    """The format, a logger that has it, and where its records go."""
    configuration = logs.configuration(load({"LOG_FORMAT": request.param}))
    stream, logger = io.StringIO(), logging.Logger("here")
    handler = logging.StreamHandler(stream)
    kind = configuration["handlers"]["stderr"]["formatter"]
    handler.setFormatter(
        logs.Json() if kind == "json" else logs.OneLine(configuration["formatters"][kind]["format"])
    )
    logger.addHandler(handler)
    return request.param, logger, stream


def test_a_record_has_its_time_with_zone_and_what_it_is_about(written):
    kind, logger, stream = written
    with logs.about(run_id="r1", attempt=2):
        logger.warning("it is %s", "late\n\ud800")
    logger.warning("and now?")

    first, second = stream.getvalue().splitlines()
    if kind == "json":
        entry = json.loads(first)
        assert (entry["level"], entry["logger"]) == ("WARNING", "here")
        assert entry["message"].startswith("it is late\n")
        assert (entry["run_id"], int(entry["attempt"])) == ("r1", 2)
        assert "run_id" not in json.loads(second)
        moment = entry["time"]
    else:
        moment, rest = first.split(" ", 1)
        assert rest == r"WARNING here: it is late\x0a\ud800 [run_id=r1 attempt=2]"
        assert second.endswith("WARNING here: and now?")
    assert datetime.fromisoformat(moment).tzinfo is not None


def test_a_traceback_belongs_to_its_record(written):
    kind, logger, stream = written
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("it failed")

    first, *rest = stream.getvalue().splitlines()
    if kind == "json":
        assert rest == []
        assert json.loads(first)["traceback"].endswith("ValueError: no")
    else:
        assert all(line.startswith("  ") for line in rest)


def test_each_greenlet_has_its_own_and_hands_it_on_when_told_to():
    logs.begin(request_id="q1")
    logs.add(user_id="u1")

    assert gevent.spawn(logs.fields).get() == {}
    assert gevent.spawn(logs.same(logs.fields)).get() == {"request_id": "q1", "user_id": "u1"}
    logs.begin(request_id="q2")
    assert logs.fields() == {"request_id": "q2"}


def test_the_same_warning_is_logged_once_a_minute_and_counted():
    now = 0.0
    once = logs.OncePerMinute(["here"], lambda: now)

    def passed(text: str, level: int = logging.WARNING) -> str | None:
        record = logging.LogRecord("here", level, "", 0, text, (), None)
        return record.getMessage() if once.filter(record) else None

    assert passed("refused, again in 2 seconds") == "refused, again in 2 seconds"
    assert [passed(f"refused, again in {number} seconds") for number in (4, 8, 16)] == [None] * 3
    assert passed("another") == "another"
    assert [once.filter(logging.LogRecord("there", logging.ERROR, "", 0, "", (), None)) for _ in "12"] == [
        True,
        True,
    ]
    assert [passed("a run starts", logging.INFO) for _ in range(2)] == ["a run starts"] * 2
    now = 61.0
    assert passed("refused, again in 32 seconds") == (
        "refused, again in 32 seconds (3 times more in the last minutes)"
    )
    assert passed("refused, again in 64 seconds") is None


def test_a_format_that_does_not_exist_is_named():
    with pytest.raises(ConfigurationError, match="LOG_FORMAT='xml'"):
        load({"LOG_FORMAT": "xml"})
