"""A thread that goes on by itself, as its user sees it: the bar above the message field, and its turns."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from runtime.testing.waiting import until
from tests.support.browser import Visitor, axe, opened, turn, write

Json = dict[str, Any]


def bar(page: Page) -> Locator:
    return page.get_by_role("region", name="Session")


def press(page: Page, name: str) -> None:
    bar(page).get_by_role("button", name=name, exact=True).click()


def choose(page: Page, menu: str, item: str) -> None:
    page.get_by_role("button", name=menu).click()
    page.get_by_role("menuitem", name=item).click()


def session(visitor: Visitor, *, auto: bool = True, **config: Any) -> Json:
    """A thread with a session, whose worker is ``fake``."""
    thread: Json = visitor.client.thread(worker_id="fake", config=config)
    path = f"/api/threads/{thread['id']}/session"
    visitor.client.post(path, json={"auto": {"enabled": auto}}).raise_for_status()
    return thread


def test_a_session_is_begun_from_the_menu_and_its_turns_are_shown_as_they_come(visitor: Visitor) -> None:
    thread = visitor.client.thread(worker_id="fake", config={"mode": "remember"})
    page = visitor.open(thread)
    choose(page, "Thread actions", "Let it go on by itself …")
    dialog = page.get_by_role("dialog", name="Let it go on by itself")
    dialog.get_by_label("Prompt").fill("And further")
    dialog.get_by_label("Turns").fill("many")
    dialog.get_by_role("button", name="Begin session").click()
    expect(dialog.get_by_label("Turns")).to_have_attribute("aria-invalid", "true")
    assert axe(page) == []
    dialog.get_by_label("Turns").fill("3")
    dialog.get_by_role("button", name="Begin session").click()
    expect(bar(page)).to_contain_text("Ready")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()

    write(page, "Begin")

    expect(page.locator(".turn-answer")).to_have_count(3)
    expect(page.locator(".turn-user .user-text")).to_have_text(["Begin", "And further", "And further"])
    expect(page.get_by_role("article", name="Asked by itself")).to_have_count(2)
    expect(bar(page)).to_contain_text("Stopped")
    expect(bar(page).get_by_role("list", name="Used")).to_contain_text("3 of 3 turns")
    choose(page, "Session actions", "History")
    moves = page.get_by_role("list", name="Transitions").get_by_role("listitem")
    expect(moves).to_have_count(6)
    expect(moves.last).to_contain_text("Ready → Running, by a person")
    assert axe(page) == []


@pytest.mark.slow
def test_the_last_turn_is_shown_though_it_has_begun_before_the_message_was_answered(visitor: Visitor) -> None:
    thread = visitor.client.thread(worker_id="fake", config={"mode": "remember"})
    wish = {"auto": {"enabled": True}, "limits": {"max_turns": 3}}
    visitor.client.post(f"/api/threads/{thread['id']}/session", json=wish).raise_for_status()
    page, other = visitor.open(thread), visitor.tab()
    other.goto(page.url)
    for tab in (page, other):
        expect(bar(tab)).to_contain_text("Ready")
    answered: list[str] = []

    def answer_late(route: Route) -> None:
        response = route.fetch()
        expect(other.locator(".turn-answer")).to_have_count(3)
        expect(bar(other)).to_contain_text("Stopped")
        route.fulfill(response=response)
        answered.append(route.request.url)

    page.route("**/session/messages", answer_late)
    write(page, "Begin")

    expect(page.get_by_label("Message", exact=True)).to_have_value("")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    assert len(answered) == 1
    expect(page.locator(".turn-answer")).to_have_count(3)


def test_tabs_follow_a_session_that_is_paused_steps_and_resumes(visitor: Visitor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    thread = session(visitor, mode="gate", path=str(gate))
    page, other = visitor.open(thread), visitor.tab()
    expect(bar(page)).to_contain_text("Ready")
    other.goto(page.url)
    expect(bar(other)).to_contain_text("Ready")
    expect(other.get_by_text("Live", exact=True)).to_be_visible()
    asked: list[str] = []
    other.on("request", lambda request: asked.append(request.url))
    write(page, "Begin")
    for tab in (page, other):
        expect(bar(tab)).to_contain_text("Running")
        expect(tab.locator(".turn-answer")).to_have_attribute("data-status", "running")

    press(other, "Pause after this turn")
    expect(bar(page)).to_contain_text("Pausing after this turn")
    assert axe(page) == []
    opened(gate)
    for tab in (page, other):
        expect(bar(tab)).to_contain_text("It was paused.")
    press(page, "One turn")
    for tab in (page, other):
        expect(bar(tab)).to_contain_text("It was to take one step.")
        expect(tab.locator(".turn-answer")).to_have_count(2)
    press(page, "Resume")
    for tab in (page, other):
        expect(tab.locator(".turn-answer")).to_have_count(4)
        expect(bar(tab)).to_contain_text("It has answered the same twice.")
    told = [url for url in asked if "/session" in url and not url.endswith("/session/pause")]
    assert told == [], "events tell a tab all"


@pytest.mark.slow
def test_a_message_waits_for_the_turn_or_begins_the_next_one(visitor: Visitor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    page = visitor.open(session(visitor, auto=False, mode="gate", path=str(gate)))
    expect(bar(page)).to_contain_text("Ready")
    write(page, "Begin")
    expect(bar(page)).to_contain_text("Running")
    field = page.get_by_label("Message", exact=True)
    field.fill("And then?")
    page.get_by_role("button", name="Queue message").click()
    waiting = page.get_by_role("region", name="Queued messages")
    expect(waiting).to_contain_text("And then?")
    waiting.get_by_role("button", name="Stop and send now").click()
    expect(page.locator(".user-text").last).to_have_text("And then?")
    expect(page.locator(".turn-answer").first).to_have_attribute("data-status", "cancelled")
    expect(bar(page)).to_contain_text("Turn 2")
    opened(gate)
    expect(bar(page)).to_contain_text("The turn has ended.")
    write(page, "At last")
    expect(bar(page)).to_contain_text("Turn 3")
    expect(page.locator(".turn-answer")).to_have_count(3)


@pytest.mark.slow
def test_a_message_beside_the_tip_is_a_run_of_its_own_until_the_session_goes_on_there(
    visitor: Visitor,
) -> None:
    thread = session(visitor, auto=False, mode="remember")
    page = visitor.open(thread)
    expect(bar(page)).to_contain_text("Ready")
    write(page, "One")
    expect(bar(page)).to_contain_text("The turn has ended.")
    beside = visitor.answered(thread, "Beside", text="Elsewhere")["states"][0]
    visitor.open(thread, beside)
    write(page, "Beside it, too")
    expect(page.locator(".turn-answer")).to_have_count(2)
    expect(page.locator(".turn-answer").last).to_have_attribute("data-status", "success")
    expect(bar(page)).to_contain_text("Turn 1")

    answer = turn(page, beside)
    answer.hover()
    answer.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Let it go on from here").click()
    expect(page.get_by_text("The session goes on from here")).to_be_visible()
    visitor.open(thread, beside)
    write(page, "Two")
    expect(bar(page)).to_contain_text("Turn 2")
    expect(page.locator(".user-text")).to_have_text(["Beside", "Two"])


@pytest.mark.slow
def test_who_has_moved_away_stays_where_they_are(visitor: Visitor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    thread = session(visitor, mode="gate", path=str(gate))
    path = f"/api/threads/{thread['id']}/session/messages"
    body = {"messages": [{"role": "user", "content": "Begin"}]}
    sent = visitor.client.post(path, json=body)
    sent.raise_for_status()
    question = sent.json()["run"]["input_state_id"]
    page = visitor.open(thread, thread["root_state_id"])
    expect(bar(page)).to_contain_text("Running")
    opened(gate)
    expect(bar(page)).to_contain_text("Turn 2")
    expect(bar(page)).to_contain_text("Stopped")
    assert page.url.endswith(thread["root_state_id"])
    expect(turn(page, question)).to_have_count(0)


@pytest.mark.slow
def test_limits_are_raised_and_a_closed_session_is_no_more(visitor: Visitor) -> None:
    thread = session(visitor, auto=False, mode="hang")
    page = visitor.open(thread)
    expect(bar(page)).to_contain_text("Ready")
    write(page, "Begin")
    expect(bar(page)).to_contain_text("Running")
    press(page, "Stop session")
    expect(bar(page)).to_contain_text("Its turn was stopped.")
    choose(page, "Session actions", "Limits and prompt")
    dialog = page.get_by_role("dialog", name="Limits and prompt")
    dialog.get_by_label("Tokens").fill("5000")
    dialog.get_by_role("button", name="Save").click()
    expect(bar(page)).to_contain_text("0 of 5,000 tokens")
    choose(page, "Session actions", "Close session")
    page.get_by_role("dialog").get_by_role("button", name="Close session").click()
    expect(bar(page)).to_contain_text("Closed")
    expect(bar(page).get_by_role("button")).to_have_count(1)
    assert axe(page) == []
    write(page, "A run like any other")
    expect(page.locator(".turn-answer")).to_have_count(2)
    page.get_by_role("button", name="Stop generating").click()
    expect(page.locator(".turn-answer").last).to_have_attribute("data-status", "cancelled")


@pytest.mark.slow
def test_the_summary_of_what_has_slid_out_is_shown_with_who_has_made_it(visitor: Visitor) -> None:
    thread: Json = visitor.client.thread(worker_id="fake", config={"mode": "remember"})
    path = f"/api/threads/{thread['id']}/session"
    wish = {"auto": {"enabled": False}, "window": {"k": 2, "summary": "fake"}}
    visitor.client.post(path, json=wish).raise_for_status()
    page = visitor.open(thread)
    choose(page, "Session actions", "Summary")
    dialog = page.get_by_role("dialog", name="Summary of the conversation")
    expect(dialog).to_contain_text("The worker fake sums up")
    expect(dialog).to_contain_text("There is no summary yet")
    page.keyboard.press("Escape")
    for number, text in enumerate(("One", "Two", "Three"), 1):
        write(page, text)
        expect(bar(page)).to_contain_text(f"Turn {number}")
        expect(bar(page)).to_contain_text("The turn has ended.")
    until(lambda: visitor.client.get(f"{path}/summary").json()["summary"], what="a summary")

    choose(page, "Session actions", "Summary")

    summary = dialog.get_by_role("region", name="The last summary")
    expect(summary).to_contain_text(re.compile(r"The first \d+ messages, summed up "))
    expect(summary).to_contain_text("Hello, world!")
    assert axe(page) == []
    if folder := os.environ.get("BRANCHLINE_TEST_PICTURES"):
        page.screenshot(path=str(Path(folder) / "session-summary.png"))
