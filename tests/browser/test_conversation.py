"""Sending, reading, stopping and branching, as a user does it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from runtime.testing.client import PASSWORD
from runtime.testing.stack import Stack
from tests.support.browser import Visitor, axe, opened, turn, turn_wheel, write


def test_a_user_signs_up_gets_an_answer_and_signs_out(chromium: Browser, stack: Stack) -> None:
    page = chromium.new_context().new_page()
    page.goto(f"{stack.url}/register")
    page.get_by_label("Email").fill("grace@example.com")
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_text("must have 8 to 1024 characters")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()

    write(page, "Hello there, Branchline")
    expect(page.locator(".turn-answer .prose")).to_have_text("Hello there, Branchline")
    expect(page).to_have_title(re.compile("Hello there, Branchline"))
    expect(
        page.get_by_role("navigation", name="Threads").get_by_text("Hello there, Branchline")
    ).to_be_visible()

    page.get_by_role("button", name="Account:").click()
    page.get_by_role("menuitem", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Email").fill("grace@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Hello there, Branchline")).to_be_visible()
    page.context.close()


@pytest.mark.slow
def test_a_draft_is_kept_for_its_author_only(chromium: Browser, stack: Stack) -> None:
    page = chromium.new_context().new_page()
    message = page.get_by_label("Message", exact=True)

    def sign_in(name: str, button: str) -> None:
        page.goto(f"{stack.url}/{'register' if button == 'Create account' else 'login'}")
        page.get_by_label("Email").fill(f"{name}@example.com")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("button", name="Account:")).to_be_visible()

    sign_in("mary", "Create account")
    message.fill("Mary's own words")
    page.context.clear_cookies()  # her session ends, and she comes back
    sign_in("mary", "Sign in")
    expect(message).to_have_value("Mary's own words")
    page.context.clear_cookies()
    sign_in("jane", "Create account")
    expect(message).to_have_value("")

    message.fill("Jane's own words")
    page.get_by_role("button", name="Account:").click()
    page.get_by_role("menuitem", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert "own words" not in page.evaluate("JSON.stringify(localStorage)")
    page.context.close()


def test_an_edit_becomes_a_branch_and_both_stay(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    first = visitor.client.ask(thread, "The first wording")
    visitor.client.wait(first["runs"][0])
    page = visitor.open(thread)
    mine = page.locator(".turn-user")
    mine.hover()
    mine.get_by_role("button", name="Edit").click()
    page.get_by_label("Edited message").fill("The second wording")
    page.get_by_role("button", name="Save and run").click()

    expect(page.locator(".turn-answer .prose")).to_have_text("The second wording")
    expect(mine.get_by_role("group", name="Branch 2 of 2")).to_be_visible()
    expect(mine.get_by_text("2 more messages on other branches")).to_be_visible()
    expect(page.locator(".turn-answer")).to_have_attribute("data-status", "success")
    before = mine.get_by_role("group").bounding_box()
    mine.get_by_role("button", name="Previous branch").click()
    expect(page.locator(".turn-answer .prose")).to_have_text("The first wording")
    expect(page).to_have_url(re.compile(first["states"][0]["id"]))
    after = mine.get_by_role("group").bounding_box()
    assert before is not None
    assert after is not None
    assert abs(before["y"] - after["y"]) < 2

    mine.hover()
    mine.get_by_role("button", name="Edit").click()
    page.get_by_label("Edited message").fill("Only kept")
    page.get_by_role("button", name="Save as branch").click()
    expect(mine).to_contain_text("Only kept")
    expect(mine.get_by_role("group", name="Branch 3 of 3")).to_be_visible()
    expect(page.locator(".turn-answer")).to_have_count(0)
    expect(page.get_by_role("treeitem")).to_have_count(5)


@pytest.mark.slow
def test_a_fork_remembers_which_branch_was_chosen_last(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    first = visitor.answered(thread, "Question", text="one")
    question = first["input_state"]["id"]
    second = visitor.answered(thread, None, question, text="two")
    visitor.answered(thread, None, question, text="three")
    other = visitor.answered(thread, "Another question", text="four")
    page = visitor.open(thread, second["states"][0])
    expect(turn(page, second["states"][0])).to_contain_text("two")
    expect(page.get_by_role("treeitem")).to_have_count(6)  # where a branch ends is known by the whole tree

    page.locator(".turn-user").get_by_role("button", name="Next branch").click()
    expect(turn(page, other["states"][0])).to_contain_text("four")
    page.locator(".turn-user").get_by_role("button", name="Previous branch").click()
    expect(turn(page, second["states"][0])).to_contain_text("two")


def test_answers_are_regenerated_and_compared(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(visitor.url)
    visitor.configure(page, text="Red green blue")
    page.get_by_role("button", name="Worker: Fake").click()
    page.get_by_role("button", name="More answers").click()
    page.keyboard.press("Escape")
    write(page, "Name three colours")
    columns = page.get_by_role("article")
    expect(columns).to_have_count(2)
    expect(columns.nth(1)).to_contain_text("Red green blue")

    page.get_by_role("button", name="Back to chat").click()
    answer = page.locator(".turn-answer")
    answer.hover()
    expect(answer.get_by_role("group", name="Branch 2 of 2")).to_be_visible()
    thread = page.url.split("/t/")[1].split("/")[0]
    changed = visitor.client.patch(f"/api/threads/{thread}", json={"config": {"text": "Red yellow blue"}})
    changed.raise_for_status()
    expect(page.get_by_role("button", name="Configure, Text: Red yellow blue")).to_be_visible()
    answer.get_by_role("button", name="Regenerate").click()
    expect(answer.get_by_role("group", name="Branch 3 of 3")).to_be_visible()

    answer.get_by_text("more messages on other branches").click()
    expect(columns).to_have_count(3)
    page.get_by_role("button", name="Show differences").click()
    expect(columns.nth(2).locator("del")).to_have_text("green")
    expect(columns.nth(2).locator("ins")).to_have_text("yellow")
    columns.nth(2).get_by_role("button", name="Continue with this").click()
    expect(answer).to_contain_text("Red yellow blue")


@pytest.mark.slow
def test_two_workers_answer_side_by_side(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(visitor.url)
    page.get_by_role("button", name="Worker:").click()
    expect(page.get_by_text("ANTHROPIC_API_KEY is not set")).to_be_visible()
    page.get_by_label("Ask several workers").check()
    page.get_by_role("button", name=re.compile("^Fake")).click()
    page.keyboard.press("Escape")
    write(page, "Both of you")
    expect(page.get_by_role("article")).to_have_count(2)
    expect(page.get_by_role("article").nth(0)).to_contain_text("Both of you")
    expect(page.get_by_role("article").nth(1)).to_contain_text("Hello, world!")


def test_a_stopped_run_keeps_its_text(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(visitor.url)
    visitor.configure(page, mode="hang", text="As far as this")
    write(page, "Go on for ever")
    answer = page.locator(".turn-answer")
    expect(answer).to_contain_text("As far as this")
    page.get_by_role("button", name="Stop generating").click()
    expect(answer).to_contain_text("Stopped. The text written so far is kept.")
    expect(answer).to_contain_text("As far as this")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_a_failed_run_shows_its_error_and_log_and_is_retried(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    visitor.answered(thread, "Break", mode="crash", text="Nearly ")
    page = visitor.open(thread)
    answer = page.locator(".turn-answer")
    expect(answer.get_by_role("alert")).to_contain_text("The worker crashed.")
    expect(answer).to_contain_text("Nearly")
    answer.get_by_role("button", name="Log").click()
    expect(page.get_by_role("dialog")).to_contain_text("about to crash")
    page.keyboard.press("Escape")
    expect(answer.get_by_role("button", name="Log")).to_be_focused()
    answer.get_by_role("button", name="Try again").click()
    expect(answer.get_by_role("group", name="Branch 2 of 2")).to_be_visible()
    expect(answer.get_by_role("alert")).to_contain_text("exit code 3")


@pytest.mark.slow
def test_a_run_that_is_tried_again_says_why_and_when(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    asked = visitor.fake(thread, "Try", mode="fail", retryable=True, text="Nearly ")
    page = visitor.open(thread, asked["states"][0])
    answer = page.locator(".turn-answer")
    expect(answer).to_contain_text("The attempt failed: It did not work out.")
    expect(answer).to_contain_text(re.compile(r"Trying again in \d+ s \(2 of 3\)\."))
    expect(answer).not_to_contain_text("Nearly")
    assert axe(page) == []
    answer.get_by_role("button", name="Cancel").click()
    expect(answer).to_contain_text("Stopped.")


def test_a_question_of_a_run_is_answered_in_the_chat(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    visitor.fake(thread, "May I?", mode="confirm", text="Well. ")
    page = visitor.open(thread)
    card = page.get_by_role("group", name="Input needed")
    expect(card).to_contain_text("Shall I?")
    card.get_by_role("button", name="yes").click()
    expect(page.locator(".turn-answer")).to_contain_text("You said yes.")
    expect(card).to_be_hidden()
    expect(page.locator(".turn-answer")).to_contain_text("You answered: yes")
    expect(page.locator(".turn-answer")).to_contain_text("Well. ")
    expect(page.locator(".turn-answer")).not_to_contain_text("attempt")  # nothing of it was lost


@pytest.mark.slow
def test_an_answer_to_a_question_is_kept_until_it_is_given(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    visitor.fake(thread, "May I?", mode="confirm_twice")
    page = visitor.open(thread)
    card = page.get_by_role("group", name="Input needed")
    card.get_by_label("Your answer").fill("Half an ans")
    page.reload()
    expect(card.get_by_label("Your answer")).to_have_value("Half an ans")
    card.get_by_role("button", name="Answer").click()
    expect(card).to_contain_text("Second?")
    expect(card.get_by_label("Your answer")).to_have_value("")


@pytest.mark.slow
def test_a_question_with_a_schema_is_a_form(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    asked = visitor.fake(thread, "Order", mode="question_form")
    page = visitor.open(thread)
    card = page.get_by_role("group", name="Input needed")
    card.get_by_label("Name").fill("A")
    card.get_by_role("button", name="Answer").click()
    expect(card).to_contain_text("at least 2 characters")
    card.get_by_label("Name").fill("Ada")
    page.reload()
    expect(card.get_by_label("Name")).to_have_value("Ada")
    assert axe(page) == []
    refused = visitor.client.post(
        f"/api/runs/{asked['runs'][0]['id']}/answer", json={"answer": {"count": 12}}
    )
    assert refused.status_code == 422
    assert sorted(error["path"] for error in refused.json()["errors"]) == ["answer", "answer.count"]
    card.get_by_role("button", name="Answer").click()
    expect(page.locator(".turn-answer .prose")).to_have_text('{"count": 3, "name": "Ada"}')
    expect(card).to_be_hidden()


def test_every_type_of_message_is_rendered(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    visitor.answered(thread, "Show all", mode="messages")
    page = visitor.open(thread)
    answer = page.locator(".turn-answer")
    expect(answer).to_contain_text("The sum is 3.")
    thought = answer.locator("details").filter(has_text="Reasoning")
    expect(thought.get_by_text("Let me think.")).to_be_hidden()
    thought.locator("summary").click()
    expect(thought.get_by_text("Let me think.")).to_be_visible()
    call = answer.locator("details").filter(has_text="add")
    call.locator("summary").click()
    expect(call).to_contain_text('"a": 1')
    expect(call).to_contain_text("Result")
    expect(answer.locator("figure.code .hljs-number").first).to_be_visible()


def test_a_reload_during_an_answer_shows_the_same_text_and_scrolls_nothing(
    visitor: Visitor, tmp_path: Path
) -> None:
    thread = visitor.client.thread()
    lines = "".join(f"{number}. a line of a long answer\n" for number in range(1, 81))
    gate = tmp_path / "gate"
    asked = visitor.fake(thread, "Count", mode="gate", text=lines, path=str(gate))
    page = visitor.open(thread, asked["states"][0])
    answer = turn(page, asked["states"][0])
    expect(answer).to_contain_text("a line of a long answer")
    expect(answer.locator("li")).to_have_count(80)

    page.reload()
    expect(answer.locator("li")).to_have_count(80)
    box = page.locator(".conversation")
    turn_wheel(page, box, -1500)
    expect(page.get_by_role("button", name="Jump to latest")).to_be_visible()
    before = box.evaluate("box => box.scrollTop")
    opened(gate)
    expect(answer).not_to_have_attribute("data-status", "running")
    expect(answer.locator("li")).to_have_count(160)
    assert box.evaluate("box => box.scrollTop") == before
    page.get_by_role("button", name="Jump to latest").click()
    expect(page.get_by_role("button", name="Jump to latest")).to_be_hidden()


@pytest.mark.slow
def test_a_run_in_another_tab_changes_neither_selection_nor_scroll(visitor: Visitor, tmp_path: Path) -> None:
    thread = visitor.client.thread()
    shown = visitor.answered(thread, "Shown", text="A line.\n\n", count=60)
    page = visitor.open(thread, shown["states"][0])
    expect(turn(page, shown["states"][0]).locator("p")).to_have_count(60)
    box = page.locator(".conversation")
    turn_wheel(page, box, -800)
    expect(page.get_by_role("button", name="Jump to latest")).to_be_visible()
    position = "box => [box.scrollTop, location.pathname]"
    before = box.evaluate(position)

    other = visitor.tab()
    other.goto(f"{visitor.url}/t/{thread['id']}/s/{thread['root_state_id']}")
    gate = tmp_path / "gate"
    asked = visitor.fake(thread, "Elsewhere", mode="gate", text="far away ", path=str(gate))
    row = page.get_by_role("treeitem", name=re.compile("far away"))
    expect(row).to_have_attribute("data-status", "running")
    expect(other.get_by_role("treeitem", name=re.compile("far away"))).to_be_visible()
    opened(gate)
    expect(row).to_have_attribute("data-status", "success")
    assert box.evaluate(position) == before
    expect(page.get_by_role("treeitem", selected=True)).to_have_attribute(
        "data-row", shown["states"][0]["id"]
    )

    row.click()
    expect(turn(page, asked["states"][0])).to_contain_text("far away far away")


HOSTILE = (
    """Harmless <b>words</b>
<script>window.hit = 'script'</script>
<img src=x onerror="window.hit = 'onerror'">
<svg onload="window.hit = 'onload'"><a xlink:href="javascript:window.hit = 1">x</a></svg>
<iframe src="javascript:parent.hit = 'iframe'"></iframe>
<style>body { display: none }</style>
<div style="position: fixed; inset: 0; background: red" class="dialog backdrop" id="app">cover</div>
<form action="https://evil.example"><input name="password"></form>

[a link](javascript:window.hit='link') [data](data:text/html,<script>parent.hit=1</script>)
![beacon](https://evil.example/beacon.png) ![inline](data:image/svg+xml,<svg onload=alert(1)>)

```html
<script>window.hit = 'code'</script>
```

$\\href{javascript:window.hit='math'}{x}$ and $$\\class{backdrop}{y}$$

| wide | """
    + " | ".join(f"column {number}" for number in range(60))
    + """ |
|---|"""
    + "---|" * 60
    + """
| cell |"""
    + " cell |" * 60
)


def test_hostile_output_of_a_model_is_harmless(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    outside: list[str] = []
    visitor.page.on(
        "request", lambda request: not request.url.startswith(visitor.url) and outside.append(request.url)
    )
    visitor.answered(thread, HOSTILE, text=HOSTILE)
    page = visitor.open(thread)
    answer = page.locator(".turn-answer")
    expect(answer.locator("math").first).to_be_visible()
    expect(answer.locator("table")).to_be_visible()
    for link in answer.locator("a").all():
        assert link.get_attribute("href") in ("https://evil.example/beacon.png",)
    assert page.evaluate("window.hit") is None
    forbidden = (
        "script, iframe, style, form, input, img, [onerror], [style]:not(.katex *), [id], .backdrop, .dialog"
    )
    assert answer.locator(".message-list").locator(forbidden).count() == 0
    assert outside == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator(".turn-user .user-text")).to_contain_text("<script>")
