"""Configurations of workers: a thread has its own, on every device."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from runtime.testing.stack import Stack
from tests.support.browser import Visitor, write


def other_device(chromium: Browser, visitor: Visitor) -> Page:
    """A page in another browser of the same user."""
    context = chromium.new_context(storage_state={"cookies": visitor.context.cookies(), "origins": []})
    return context.new_page()


def configs_of_runs(visitor: Visitor, thread: str) -> list[dict[str, Any]]:
    """The configurations of the thread's runs, the oldest run first."""
    items = visitor.client.get("/api/runs", params={"thread": thread}).json()["items"]
    return [run["config"] for run in sorted(items, key=lambda run: run["id"])]


def test_a_thread_is_asked_with_its_own_configuration_on_every_device(
    chromium: Browser, stack: Stack, visitor: Visitor
) -> None:
    page = visitor.page
    page.goto(visitor.url)
    visitor.configure(page, text="First")
    write(page, "Begin")
    expect(page.locator(".turn-answer .prose")).to_have_text("First")
    visitor.configure(page, text="Of another thread")
    expect(page.get_by_role("button", name="Configure, Text: First")).to_be_visible()

    elsewhere = other_device(chromium, visitor)
    elsewhere.goto(page.url)
    button = elsewhere.get_by_role("button", name="Configure, Text: First")
    button.click()
    dialog = elsewhere.get_by_role("dialog", name="Configure Fake")
    dialog.get_by_label("Text").fill("Second")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Configure, Text: Second")).to_be_visible()
    write(page, "Go on")
    expect(page.locator(".turn-answer .prose").nth(1)).to_have_text("Second")

    thread = page.url.split("/t/")[1].split("/")[0]
    assert [config["text"] for config in configs_of_runs(visitor, thread)] == ["First", "Second"]
    elsewhere.goto(visitor.url)
    expect(elsewhere.get_by_role("button", name="Configure", exact=True)).to_be_visible()
    elsewhere.context.close()


@pytest.mark.slow
def test_a_configuration_of_a_thread_is_used_for_new_threads_too(visitor: Visitor) -> None:
    thread = visitor.client.thread(worker_id="echo")
    visitor.client.wait(visitor.client.ask(thread, "Hello", worker_id="echo")["runs"][0])
    page = visitor.open(thread)
    page.get_by_role("button", name="Configure").click()
    dialog = page.get_by_role("dialog", name="Configure Echo")
    dialog.get_by_label("Piece").select_option("line")
    dialog.get_by_label("Use for new threads as well").check()
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Configure, Piece: line")).to_be_visible()
    page.get_by_role("button", name="New thread").click()
    expect(page.get_by_role("heading", name="What would you like to explore?")).to_be_visible()
    expect(page.get_by_role("button", name="Configure, Piece: line")).to_be_visible()


def test_a_configuration_may_begin_with_a_preset_of_the_worker(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(visitor.url)
    visitor.configure(page, text="First")
    page.get_by_role("button", name="Configure, Text: First").click()
    dialog = page.get_by_role("dialog", name="Configure Fake")
    dialog.get_by_role("group", name="Presets").get_by_role("button", name="Fails").click()
    expect(dialog.get_by_role("button", name="Fails")).to_have_attribute("aria-pressed", "true")
    expect(dialog.get_by_label("Text")).to_have_value("")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Configure, Mode: fail")).to_be_visible()


@pytest.mark.slow
def test_what_failed_is_asked_again_with_the_configuration_of_now(visitor: Visitor) -> None:
    thread = visitor.client.thread(worker_id="fake", config={"mode": "fail"})
    visitor.answered(thread, "Will it work?", mode="fail")
    page = visitor.open(thread)
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("button", name="Configure, Mode: fail").click()
    dialog = page.get_by_role("dialog", name="Configure Fake")
    dialog.get_by_label("Mode").select_option("ok")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Configure", exact=True)).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".turn-answer")).to_contain_text("Hello, world!")
    expect(page.get_by_role("alert")).to_be_hidden()


@pytest.mark.slow
def test_the_configurations_of_several_workers_belong_to_the_thread(visitor: Visitor) -> None:
    thread = visitor.client.thread(worker_id="echo", metadata={"mine": 1})
    asked = visitor.client.ask(thread, "Hello", worker_id="echo")
    visitor.client.wait(asked["runs"][0])
    page = visitor.open(thread)
    page.get_by_role("button", name="Worker: Echo").click()
    page.get_by_label("Ask several workers").check()
    page.get_by_role("button", name="Fake").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Configure").click()
    dialog = page.get_by_role("dialog", name="Configure workers")
    dialog.get_by_label("Piece").select_option("line")
    dialog.get_by_role("tab", name="Fake").click()
    dialog.get_by_label("Text").fill("I, too")
    dialog.get_by_role("button", name="Save").click()
    name = "Configure, Echo: Piece: line · Fake: Text: I, too"
    expect(page.get_by_role("button", name=name)).to_be_visible()
    stored = visitor.client.get(f"/api/threads/{thread['id']}").json()["thread"]
    assert stored["config"] == {"piece": "line"}
    assert stored["metadata"] == {"mine": 1, "configs": {"fake": {"text": "I, too"}}}
