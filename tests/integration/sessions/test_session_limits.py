"""What a session may use, and what it is given: limits, progress, the window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runtime.errors import ConfigurationError
from runtime.sessions.service import Sessions
from tests.support.session_talk import Json, Talk
from tests.support.web import Client
from web.core import Core


@pytest.mark.parametrize(
    ("limits", "usage", "code", "turns"),
    [
        ({"max_turns": 3}, None, "max_turns", 3),
        ({"max_tokens": 25}, {"input_tokens": 7, "output_tokens": 3}, "max_tokens", 3),
        ({"max_cost": 0.5}, {"input_tokens": 7, "cost": 0.3}, "max_cost", 2),
        ({"max_tokens": 25}, None, "unknown_figure", 1),
        ({"max_cost": 1}, {"input_tokens": 7}, "unknown_figure", 1),
    ],
)
def test_a_limit_stops_it_at_the_end_of_a_turn(
    ada: Client, core: Core, limits: Json, usage: Json | None, code: str, turns: int
) -> None:
    talk = Talk(ada, core, auto={"enabled": True}, limits=limits)
    talk.send("Go")

    for number in range(turns):
        assert talk.now()["status"] == "running"
        talk.answer(f"turn {number}", usage=usage)

    assert talk.now()["stop_reason"]["code"] == code
    assert talk.now()["turn"] == turns


def test_a_budget_that_is_raised_lets_it_go_on_where_it_was(ada: Client, core: Core) -> None:
    talk = Talk(ada, core, auto={"enabled": True}, limits={"max_tokens": 10})
    talk.send("Go")
    talk.answer("one", usage={"total_tokens": 10})
    assert talk.now()["stop_reason"]["code"] == "max_tokens"
    for what in ("resume", "step"):
        assert talk.do(what).status_code == 409
    assert talk.send("And?").status_code == 409

    assert talk.change(limits={"max_tokens": 15}).json["session"]["limits"]["max_turns"] == 25
    assert talk.do("resume").status_code == 200

    assert talk.now()["status"] == "running"
    talk.answer("two", usage={"total_tokens": 10})
    assert talk.now()["used"]["tokens"] == 20
    assert [text for _, text in talk.said()][-3::2] == ["one", "two"]


def test_turns_count_from_the_last_message_of_a_person(ada: Client, core: Core) -> None:
    talk = Talk(ada, core, auto={"enabled": True}, limits={"max_turns": 2})
    talk.send("Go")
    talk.answer("one")
    talk.answer("two")
    assert talk.now()["stop_reason"]["code"] == "max_turns"
    assert talk.do("resume").status_code == 409

    assert talk.send("Further").status_code == 202

    talk.answer("three")
    talk.answer("four")
    assert (talk.now()["turn"], talk.now()["used"]["turns"]) == (4, 2)


def test_the_same_answer_twice_is_no_progress(ada: Client, core: Core) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Go")
    talk.answer("I cannot.")
    talk.answer("I cannot.")
    reason = {"code": "no_progress", "message": "It has answered the same twice."}
    assert talk.now()["stop_reason"] == reason
    assert talk.send("Try once more").status_code == 202
    talk.answer("I cannot.")
    assert talk.now()["status"] == "running"


def test_the_seconds_of_a_turn_begin_with_it(ada: Client, core: Core) -> None:
    talk = Talk(ada, core, auto={"enabled": True})
    talk.send("Begin")
    talk.began(10)
    talk.answer("One.")
    talk.answer("Two.")
    talk.answer("Three.")
    assert 10 <= talk.now()["used"]["seconds"] < 20


def test_seconds_are_those_that_it_ran_before_a_question_and_since(ada: Client, core: Core) -> None:
    talk = Talk(ada, core)
    talk.send("Go")
    talk.began(10)
    talk.attempt().ask("May I?")
    talk.follow()
    assert 10 <= talk.now()["used"]["seconds"] < 20
    talk.began(1000)
    ada.post(f"/api/runs/{talk.now()['run_id']}/answer", json={"answer": "yes"})
    talk.follow()
    talk.began(5)

    talk.answer("one")

    assert 15 <= talk.now()["used"]["seconds"] < 30


def test_a_turn_that_had_no_time_to_say_what_it_used_leaves_the_figures_known(
    ada: Client, core: Core
) -> None:
    talk = Talk(ada, core, auto={"enabled": True}, limits={"max_tokens": 100})
    talk.send("Go")
    talk.do("stop")
    assert talk.now()["used"]["tokens"] == 0
    talk.do("resume")
    talk.answer("one", usage={"total_tokens": 10})
    assert (talk.now()["used"]["tokens"], talk.now()["status"]) == (10, "running")


def test_a_file_of_prices_that_is_wrong_ends_the_process_at_its_start(core: Core, tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('["a model"]\ninput_tokens = "much"\n')
    settings = replace(core.settings, session=replace(core.settings.session, prices=str(path)))
    with pytest.raises(ConfigurationError, match="a model"):
        Sessions(core.dispatcher, core.database, core.log, settings)


@pytest.mark.parametrize(("window", "size"), [({}, 10), ({"k": 3}, 3)])
def test_its_turns_are_given_the_window_of_the_session(
    ada: Client, core: Core, window: Json, size: int
) -> None:
    talk = Talk(ada, core, window=window, auto={"enabled": True}, limits={"max_turns": 20})
    talk.send("Count")
    for number in range(12):
        talk.answer(f"number {number}")

    given = [message.content for message in talk.attempt().claim.messages]

    assert given[0] == "Count", "the goal stays"
    assert len(given) == size + 1
    assert talk.run().window["left_out"] == 25 - len(given)
