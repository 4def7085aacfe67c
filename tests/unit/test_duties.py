"""Duties that fail begin again; those that cannot be done end their process; absences do neither."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import gevent
import pytest
from gevent.event import Event
from sqlalchemy.exc import IntegrityError

from runtime import duties as duties_module
from runtime.duties import Duties, every, for_each
from runtime.errors import BrokerUnavailable, StoreUnavailable, StreamUnavailable

WITHIN = 20.0


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties_module, "_PAUSES", (0.001,) * 5)
    monkeypatch.setattr(duties_module, "_LONGEST_PAUSE", 0.001)
    monkeypatch.setattr(duties_module, "_AWAY_PAUSE", 0.001)


class Body:
    """A duty that raises each of ``errors`` in turn, and then does its work until it is ended."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.errors = list(errors)
        self.works = Event()

    def __call__(self) -> Iterator[None]:
        while self.errors:
            error = self.errors.pop(0)
            if error is not None:
                raise error
            yield
        self.works.set()
        while True:
            yield
            gevent.sleep(0.001)


def unexpected() -> Exception:
    return IntegrityError("INSERT", {}, ValueError("nobody expected this"))


def test_a_duty_begins_again_whatever_it_raises(caplog: pytest.LogCaptureFixture) -> None:
    duties, body = Duties(), Body(unexpected(), KeyError("x"), gevent.Timeout(1))

    started = duties.start("renew leases", body)

    assert body.works.wait(WITHIN)
    gevent.sleep(0.01)
    assert duties.failing() == []
    assert caplog.text.count("the duty 'renew leases' failed") == 3
    assert "nobody expected this" in caplog.text
    started.kill()
    assert duties.ages() == {}


def test_a_duty_that_ends_begins_again() -> None:
    duties, began = Duties(), []

    def body() -> Iterator[None]:
        began.append(1)
        yield
        if len(began) > 2:
            duties_were_done.set()
            gevent.sleep(WITHIN)

    duties_were_done = Event()
    started = duties.start("listen", body)

    assert duties_were_done.wait(WITHIN)
    started.kill()


def test_a_duty_that_always_fails_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    given_up: list[str] = []
    duties, body = Duties(given_up.append), Body(*(unexpected() for _ in range(100)))

    duties.start("renew leases", body).join(WITHIN)

    assert given_up == ["renew leases"]
    assert len(body.errors) == 100 - 6
    assert duties.failing() == ["renew leases"]
    assert [r.levelno for r in caplog.records][-1] == logging.CRITICAL


def test_a_success_in_between_keeps_a_duty_alive() -> None:
    given_up: list[str] = []
    errors = [error for _ in range(20) for error in (unexpected(), None)]
    duties, body = Duties(given_up.append), Body(*errors)

    started = duties.start("publish", body)

    assert body.works.wait(WITHIN)
    assert given_up == []
    started.kill()


def test_a_duty_that_the_process_can_do_without_ends_it_never() -> None:
    given_up: list[str] = []
    duties, body = Duties(given_up.append), Body(*(unexpected() for _ in range(50)))

    started = duties.start("send task events", body, essential=False)

    assert body.works.wait(WITHIN)
    assert given_up == []
    started.kill()


@pytest.mark.parametrize("error", [StoreUnavailable, StreamUnavailable, BrokerUnavailable])
def test_an_absence_is_no_failure_however_long_it_lasts(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    given_up: list[str] = []
    duties, body = Duties(given_up.append), Body(*(error() for _ in range(200)))

    started = duties.start("renew leases", body)

    assert body.works.wait(WITHIN)
    assert (given_up, duties.failing()) == ([], [])
    assert len(caplog.records) == 1, "it is logged once"
    started.kill()


def test_the_age_of_a_duty_is_that_of_its_last_success() -> None:
    duties, hangs = Duties(), Event()

    def body() -> Iterator[None]:
        yield
        hangs.set()
        gevent.sleep(WITHIN)

    started = duties.start("one", body)
    other = duties.start("two", every(0.001, lambda: None))
    hangs.wait(WITHIN)
    gevent.sleep(0.2)

    ages = duties.ages()
    assert ages["one"] >= 0.2
    assert ages["one"] - ages["two"] > 0.1
    gevent.killall([started, other])


def test_a_duty_that_is_done_once_leaves_when_it_is_done() -> None:
    duties = Duties()

    duties.start("warm hosts", lambda: [None], once=True).join(WITHIN)

    assert duties.ages() == {}


def test_what_one_item_brings_about_keeps_no_other_waiting() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 2:
            raise ValueError(item)
        done.append(item)

    with pytest.raises(ValueError, match="2"):
        for_each([1, 2, 3], work)
    assert done == [1, 3]


def test_an_absence_ends_the_work_on_items() -> None:
    def work(item: int) -> None:
        done.append(item)
        raise StoreUnavailable

    done: list[int] = []
    with pytest.raises(StoreUnavailable):
        for_each([1, 2, 3], work)
    assert done == [1]
