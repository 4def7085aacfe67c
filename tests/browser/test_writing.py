"""Nothing that is typed goes astray: not into the draft's sending, not into shortcuts."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.support.browser import Visitor, write


def configure_form(page: Page, visitor: Visitor) -> None:
    """Open the configuration of the worker ``form`` on the page of a new thread."""
    page.goto(visitor.url)
    page.get_by_role("button", name="Worker:").click()
    page.get_by_role("button", name=re.compile("^Form")).click()
    page.get_by_role("button", name="Configure").click()


def test_enter_in_the_configuration_saves_it_and_sends_nothing(visitor: Visitor) -> None:
    page = visitor.page
    sent: list[str] = []
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    page.goto(visitor.url)
    page.get_by_label("Message", exact=True).fill("Half a thou")
    configure_form(page, visitor)
    form = page.get_by_role("dialog", name="Configure Form")
    form.get_by_label("City").fill("Oslo")
    form.get_by_label("Name").fill("Ada")
    form.get_by_label("Name").press("Enter")
    expect(form).to_be_hidden()
    expect(page.get_by_label("Message", exact=True)).to_have_value("Half a thou")
    assert sent == []
    page.get_by_role("button", name="Configure").click()
    expect(form.get_by_label("Name")).to_have_value("Ada")


def test_a_dialog_and_its_fields_belong_to_no_form_of_the_page(visitor: Visitor) -> None:
    page = visitor.page
    configure_form(page, visitor)
    form = page.get_by_role("dialog", name="Configure Form")
    assert form.evaluate("dialog => dialog.parentElement.closest('form')") is None
    field = form.get_by_label("Instructions")
    style = "field => [getComputedStyle(field).borderTopWidth, getComputedStyle(field).outlineStyle]"
    field.focus()
    assert field.evaluate(style) == ["1px", "solid"]


def test_the_message_field_keeps_the_focus_and_what_is_typed(visitor: Visitor) -> None:
    page, field = visitor.page, visitor.page.get_by_label("Message", exact=True)
    sidebar = page.get_by_role("navigation", name="Threads")
    page.goto(visitor.url)
    field.fill("The first message")
    field.press("Enter")
    expect(page.locator(".turn-answer .prose")).to_have_text("The first message")
    expect(field).to_be_focused()
    page.keyboard.type("so no?[]/")
    expect(field).to_have_value("so no?[]/")

    field.fill("")
    page.locator(".turn-answer .prose").click()
    page.keyboard.type("no, so [on]?")
    expect(field).to_have_value("no, so [on]?")
    expect(sidebar).to_be_visible()
    expect(page.locator(".outline")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "/t/" in page.url

    page.get_by_role("button", name="Send").click()
    expect(page.locator(".turn-answer")).to_have_count(2)
    expect(field).to_be_focused()


def test_what_is_sent_before_the_workers_are_known_goes_once_they_are(visitor: Visitor) -> None:
    page, field = visitor.page, visitor.page.get_by_label("Message", exact=True)
    held: list[Route] = []
    page.route("**/api/workers", lambda route: held.append(route))
    with page.expect_request("**/api/workers"):
        page.goto(visitor.url)
    field.fill("In a hurry")
    field.press("Enter")
    expect(field).to_have_value("In a hurry")
    held[0].continue_()
    expect(page.locator(".turn-answer .prose")).to_have_text("In a hurry")


def test_what_is_typed_while_a_message_is_sent_stays_in_the_field(visitor: Visitor) -> None:
    page, field = visitor.page, visitor.page.get_by_label("Message", exact=True)
    page.goto(visitor.url)
    expect(page.get_by_role("button", name="Worker: Echo")).to_be_visible()
    held: list[Route] = []
    page.route("**/api/runs", lambda route: held.append(route))
    field.fill("One")
    with page.expect_request("**/api/runs"):
        field.press("Enter")
    page.keyboard.type(" and two")
    held[0].continue_()
    expect(page.locator(".turn-user")).to_have_text(re.compile("^One"))
    expect(field).to_have_value("and two")


def test_shortcuts_with_modifiers_work_from_the_message_field(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(visitor.url)
    write(page, "Here")
    expect(page.locator(".turn-answer .prose")).to_have_text("Here")
    sidebar = page.get_by_role("navigation", name="Threads")
    page.keyboard.press("Control+Shift+S")
    expect(sidebar).to_be_hidden()
    page.keyboard.press("Control+Shift+S")
    expect(sidebar).to_be_visible()
    page.keyboard.press("Control+Shift+L")
    expect(page.locator(".outline")).to_be_hidden()
    page.keyboard.press("Control+/")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+O")
    expect(page.get_by_role("heading", name="What would you like to explore?")).to_be_visible()
