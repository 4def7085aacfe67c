"""Small things that each tell a user something: where an error is, what is lost, what is current."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.browser import Visitor, axe, opened, turn


def open_form(visitor: Visitor) -> Page:
    """The configuration of the worker ``form``, in a window in which not all of it fits."""
    page = visitor.page
    page.set_viewport_size({"width": 1000, "height": 500})
    page.goto(visitor.url)
    page.get_by_role("button", name="Worker:").click()
    page.get_by_role("button", name=re.compile("^Form")).click()
    page.get_by_role("button", name="Configure").click()
    return page


def test_a_worker_has_one_name_in_the_chat_the_outline_and_the_map(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    asked = visitor.answered(thread, "Who?", text="Me")
    page = visitor.open(thread, asked["states"][0])
    expect(page.locator(".turn-answer .author")).to_have_text("Fake")
    expect(page.get_by_role("treeitem", name=re.compile("^Fake, Me"))).to_be_visible()
    page.get_by_role("button", name="Map", exact=True).click()
    expect(page.locator(".map-node small")).to_have_text(["Start", "You", "Fake"])


def test_whoever_speaks_in_an_answer_is_named(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    asked = visitor.answered(thread, "Who?", mode="authors", text="Planner Planner form")
    page = visitor.open(thread, asked["states"][0])
    answer = turn(page, asked["states"][0])
    expect(answer.locator(".author")).to_have_text(["Fake", "Planner", "Form", "Fake"])
    expect(answer.locator(".message-list > *")).to_have_text(
        ["Planner", "This is Planner.", "This is Planner.", "Form", "This is form.", "Fake", "This is me."]
    )


def test_a_checklist_ticks_while_its_tasks_end(visitor: Visitor, tmp_path: Path) -> None:
    paths = [tmp_path / "north", tmp_path / "south"]
    below = {path.name: {"way": "hold", "until": str(path)} for path in paths} | {"east": {"way": "fail"}}
    thread = visitor.client.thread()
    asked = visitor.client.ask(thread, "Go", worker_id="team", args={"way": "checklist", "below": below})
    page = visitor.open(thread, asked["states"][0])
    tasks = page.get_by_role("list", name="Tasks").get_by_role("listitem")
    expect(tasks).to_have_text(["northworking …", "southworking …", "eastfailed"])

    opened(paths[1])
    expect(tasks).to_have_text(["northworking …", "southdone", "eastfailed"])
    assert axe(page) == []
    opened(paths[0])
    expect(tasks).to_have_text(["northdone", "southdone", "eastfailed"])
    expect(page.get_by_text("That was all.")).to_be_visible()
    page.reload()
    expect(tasks).to_have_text(["northdone", "southdone", "eastfailed"])


def test_saving_a_form_with_errors_shows_and_focuses_the_first(visitor: Visitor) -> None:
    page = open_form(visitor)
    dialog = page.get_by_role("dialog", name="Configure Form")
    dialog.get_by_label("Name").fill("Ada")
    dialog.get_by_label("Latitude").fill("10")
    dialog.get_by_label("Name").focus()
    dialog.get_by_role("button", name="Save").click()
    city = dialog.get_by_label("City")
    expect(city).to_be_focused()
    expect(city).to_be_in_viewport()


@pytest.mark.slow
def test_escape_asks_before_it_discards_changes(visitor: Visitor) -> None:
    page = open_form(visitor)
    dialog = page.get_by_role("dialog", name="Configure Form")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Configure").click()
    dialog.get_by_label("Name").fill("Ada")
    page.keyboard.press("Escape")
    question = page.get_by_role("dialog", name="Discard your changes?")
    expect(question).to_be_visible()
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    expect(dialog.get_by_label("Name")).to_have_value("Ada")
    page.keyboard.press("Escape")
    question.get_by_role("button", name="Discard").click()
    expect(dialog).to_be_hidden()


def test_an_edited_message_is_not_dropped_by_escape(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    asked = visitor.client.ask(thread, "Mine")
    visitor.client.wait(asked["runs"][0])
    page = visitor.open(thread)
    question = turn(page, asked["input_state"])
    question.hover()
    question.get_by_role("button", name="Edit").click()
    field = page.get_by_label("Edited message")
    field.fill("Mine, too")
    field.press("Escape")
    page.get_by_role("dialog", name="Discard your changes?").get_by_role("button", name="Cancel").click()
    expect(field).to_have_value("Mine, too")
    field.press("Escape")
    page.get_by_role("button", name="Discard").click()
    expect(field).to_be_hidden()


def test_an_address_of_no_thread_is_a_page(chromium: Browser, stack: Stack) -> None:
    visitor = Visitor(chromium, stack)
    visitor.page.goto(f"{visitor.url}/t/nonsense")
    expect(visitor.page.get_by_role("heading", name="Thread not found")).to_be_visible()
    visitor.leave(forgive="404")


@pytest.mark.slow
def test_a_row_of_the_list_is_one_tab_stop_and_shows_in_forced_colours(visitor: Visitor) -> None:
    thread = visitor.client.thread(title="First")
    visitor.client.thread(title="Second")
    page = visitor.open(thread)
    page.emulate_media(forced_colors="active")
    first = page.get_by_role("link", name="First")
    current = page.locator(".thread-row[data-current]")
    expect(current).to_have_css("outline-style", "solid")
    page.get_by_role("link", name="Second").focus()
    page.keyboard.press("Tab")
    expect(first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("button", name="Actions for First")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(first).to_be_focused()


@pytest.mark.slow
def test_on_a_phone_escape_closes_the_drawer_and_targets_are_large(visitor: Visitor) -> None:
    thread = visitor.client.thread(title="First")
    visitor.client.wait(visitor.client.ask(thread, "Hello")["runs"][0])
    context = visitor.context.browser.new_context(  # type: ignore[union-attr]
        viewport={"width": 390, "height": 800},
        has_touch=True,
        is_mobile=True,
        storage_state={"cookies": visitor.context.cookies(), "origins": []},
    )
    page = context.new_page()
    page.goto(f"{visitor.url}/t/{thread['id']}")
    expect(page.locator(".turn-answer")).to_be_visible()
    small = page.evaluate(
        """() => [...document.querySelectorAll('main button')]
            .map(one => [one.ariaLabel ?? one.textContent, one.getBoundingClientRect()])
            .filter(([, {width, height}]) => width && height && Math.min(width, height) < 24)
            .map(([name]) => name)"""
    )
    assert small == []
    assert page.get_by_role("button", name="Send").bounding_box()["height"] >= 44  # type: ignore[index]
    page.get_by_role("button", name="Show sidebar").click()
    drawer = page.get_by_role("navigation", name="Threads")
    page.get_by_role("button", name="Account:").click()
    expect(page.get_by_role("menuitem", name="Trash")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menuitem", name="Trash")).to_be_hidden()
    expect(drawer).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    context.close()


@pytest.mark.slow
def test_the_archive_has_a_heading(visitor: Visitor) -> None:
    thread = visitor.client.thread(title="Old")
    visitor.client.patch(f"/api/threads/{thread['id']}", json={"status": "archived"}).raise_for_status()
    page = visitor.page
    page.goto(visitor.url)
    page.get_by_role("button", name="Account:").click()
    page.get_by_role("menuitem", name="Show archive").click()
    expect(page.get_by_role("heading", name="Archive")).to_be_visible()
    expect(page.get_by_role("link", name="Old")).to_be_visible()
    page.get_by_role("button", name="Back to threads").click()
    expect(page.get_by_role("heading", name="Archive")).to_be_hidden()


def test_details_of_an_answer_say_how_many_messages_its_worker_was_not_given(visitor: Visitor) -> None:
    client, thread = visitor.client, visitor.client.thread()
    said = [
        {"role": "user", "content": "Goal"},
        *({"role": "assistant", "content": f"step {number}"} for number in range(5)),
        {"role": "user", "content": "Go on.", "author": "auto"},
    ]
    body = {"worker_id": "windowed", "input_state_id": thread["root_state_id"], "messages": said}
    asked = client.post(f"/api/threads/{thread['id']}/runs", json=body).json()

    ended = client.wait(asked["runs"][0])

    assert ended["messages"][-1]["content"] == "Goal | step 4 | Go on."
    goal = asked["input_state"]["messages"][0]["id"]
    assert ended["run"]["window"] == {
        "size": 2, "given": 3, "left_out": 4, "goal": [goal], "pinned": None, "system": [],
        "summary": None, "summed_up": 0,
    }  # fmt: skip
    page = visitor.open(thread, asked["states"][0])
    page.get_by_title("Run details").click()
    facts = page.get_by_role("dialog", name="Run details")
    expect(facts.get_by_text("3 of 7; 4 earlier ones were left out")).to_be_visible()


@pytest.mark.slow
def test_details_of_an_answer_say_how_many_messages_a_summary_covers(visitor: Visitor) -> None:
    client, thread = visitor.client, visitor.client.thread(worker_id="windowed")
    path = f"/api/threads/{thread['id']}/session"
    client.post(path, json={"window": {"summary": "windowed"}}).raise_for_status()

    def ask(text: str) -> dict[str, Any]:
        sent = client.post(f"{path}/messages", json={"messages": [{"role": "user", "content": text}]})
        return dict(client.wait(sent.json()["run"])["run"])

    def stopped() -> bool:
        return bool(client.get(path).json()["session"]["status"] == "stop")

    asked = [ask("one"), ask("two")]
    while not (asked[-1]["window"] or {}).get("summed_up"):
        until(stopped, what="the turn has ended")
        asked.append(ask("more"))
    given = asked[-1]["window"]
    page = visitor.open(thread, {"id": asked[-1]["output_state_id"]})
    page.get_by_title("Run details").last.click()
    facts = page.get_by_role("dialog", name="Run details")
    expect(facts.get_by_text(f"a summary of the first {given['summed_up']} was given")).to_be_visible()
