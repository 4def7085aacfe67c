"""Steps, images and edits of answers, the form for a worker's configuration, and large fonts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.browser import Visitor, axe, opened, turn, write
from tests.support.layout import layout_errors


def asks(page: Page, visitor: Visitor, worker: str) -> None:
    """Have a new page ask this worker."""
    page.goto(visitor.url)
    page.get_by_role("button", name="Worker:").click()
    page.get_by_role("button", name=re.compile(f"^{worker}")).click()


def received_config(page: Page) -> Any:
    """The configuration that the worker ``form`` received, which it answers with."""
    answer = page.locator(".turn-answer").last
    expect(answer).to_have_attribute("data-status", "success")
    return json.loads(answer.locator("pre").inner_text())


def _of_form(visitor: Visitor) -> Any:
    return visitor.client.get("/api/workers/form").json()["worker"]


def test_a_form_has_a_field_for_every_kind_of_value(visitor: Visitor) -> None:
    page = visitor.page
    until(lambda: _of_form(visitor)["choices"], 60, "the worker has said what may be chosen")
    asks(page, visitor, "Form")
    page.get_by_role("button", name="Configure").click()
    form = page.get_by_role("dialog", name="Configure Form")
    offered = form.get_by_label("Word").get_attribute("list")
    assert page.locator(f'[id="{offered}"] option').evaluate_all("all => all.map((one) => one.value)") == [
        "tea",
        "cup",
    ]
    expect(form.get_by_label("Kind")).to_have_value("tea")
    expect(form.get_by_text("0 is cold.")).to_be_visible()
    expect(form.get_by_label("Instructions")).to_have_attribute("placeholder", "Be brief.")
    assert form.get_by_label("Instructions").evaluate("field => field.tagName") == "TEXTAREA"
    expect(form.get_by_label("Loud")).to_be_checked()

    form.get_by_label("Heat", exact=True).fill("3")
    form.get_by_label("Count").fill("7.5")
    form.get_by_label("Latitude", exact=True).fill("91")
    tags = form.get_by_role("group", name="Tags")
    tags.get_by_role("button", name="Add").click()
    stops = form.get_by_role("group", name="Stops")
    stops.get_by_role("button", name="Add").click()
    stops.get_by_label("Minutes").fill("0")
    form.get_by_role("button", name="Save").click()

    def error_of(field: Locator) -> str:
        """The error of a field, which is shown and described to screen readers."""
        expect(field).to_have_attribute("aria-invalid", "true")
        ids = (field.get_attribute("aria-describedby") or "").split()
        notes = [page.locator(f'[id="{note}"]') for note in ids]
        return " ".join(note.inner_text() for note in notes if "error" in (note.get_attribute("class") or ""))

    assert error_of(form.get_by_label("Name")) == "is required"
    assert error_of(form.get_by_label("Heat", exact=True)) == "must be at most 2"
    assert error_of(form.get_by_label("Count")) == "must be a whole number"
    assert error_of(form.get_by_label("City")) == "is required"
    assert error_of(form.get_by_label("Latitude", exact=True)) == "must be at most 90"
    assert error_of(tags.get_by_label("1", exact=True)) == "must have at least 1 character"
    assert error_of(stops.get_by_label("Minutes")) == "must be at least 1"
    assert axe(page) == []

    form.get_by_label("Name").fill("Ada")
    form.get_by_label("Heat", exact=True).fill("0.5")
    form.get_by_label("Count").fill("10")
    form.get_by_label("Tone").select_option("3")
    form.get_by_label("Size").select_option("Large")
    form.get_by_label("Loud").uncheck()
    form.get_by_label("Instructions").fill("One\nTwo")
    form.get_by_label("City").fill("Oslo")
    form.get_by_label("Latitude", exact=True).fill("59.9")
    tags.get_by_label("1", exact=True).fill("a")
    tags.get_by_role("button", name="Add").click()
    tags.get_by_label("2", exact=True).fill("b")
    stops.get_by_label("Minutes").fill("5")
    stops.get_by_role("button", name="Add").click()
    stops.get_by_label("Minutes").nth(1).fill("6")
    stops.get_by_role("button", name="Remove 1").click()
    expect(stops.get_by_label("Minutes")).to_have_value("6")
    form.get_by_label("Extra").fill('{"any": [1]}')
    form.get_by_role("button", name="Save").click()
    write(page, "Go")
    assert received_config(page) == {
        "kind": "tea", "name": "Ada", "tone": 3, "size": 2, "heat": 0.5, "count": 10, "loud": False,
        "instructions": "One\nTwo", "place": {"city": "Oslo", "spot": {"x": 59.9}}, "tags": ["a", "b"],
        "stops": [{"minutes": 6}], "extra": {"any": [1]},
    }  # fmt: skip


def test_one_of_several_objects_is_chosen_and_filled_in(visitor: Visitor) -> None:
    page = visitor.page
    asks(page, visitor, "Form")
    page.get_by_role("button", name="Configure").click()
    form = page.get_by_role("dialog", name="Configure Form")
    form.get_by_label("Name").fill("Ada")
    drink = form.get_by_role("group", name="Drink")
    chosen = drink.get_by_role("combobox", name="Drink")
    expect(chosen.locator("option")).to_have_text(["Not set", "Coffee", "Water"])
    expect(drink.get_by_label("Cups")).to_have_count(0)

    chosen.select_option("Coffee")
    drink.get_by_label("Cups").fill("3")
    form.get_by_role("button", name="Save").click()
    expect(drink.get_by_label("Beans")).to_have_attribute("aria-invalid", "true")
    assert axe(page) == []
    drink.get_by_label("Beans").fill("Arabica")
    chosen.select_option("Water")
    expect(drink.get_by_label("Cups")).to_have_value("3")
    expect(drink.get_by_label("Beans")).to_have_count(0)
    drink.get_by_label("Sparkling").check()
    form.get_by_role("button", name="Save").click()

    write(page, "Go")
    assert received_config(page)["drink"] == {"is": "water", "cups": 3, "sparkling": True}


@pytest.mark.slow
def test_a_json_field_shows_its_value(visitor: Visitor) -> None:
    page = visitor.page
    asks(page, visitor, "Form")
    page.get_by_role("button", name="Configure").click()
    form = page.get_by_role("dialog", name="Configure Form")
    parts, extra = form.get_by_role("group", name="Parts"), form.get_by_label("Extra")
    for number in (1, 2):
        parts.get_by_role("button", name="Add").click()
        parts.get_by_label(str(number), exact=True).fill(f'{{"part": {number}}}')
    parts.get_by_role("button", name="Remove 1").click()
    expect(parts.get_by_label("1", exact=True)).to_have_value('{\n  "part": 2\n}')

    for text in ('{"any": 1}', '{"any":'):
        extra.fill(text)
        expect(extra).to_have_value(text)
        form.get_by_role("button", name="Reset to defaults").click()
        expect(extra).to_have_value("")
    expect(form.get_by_text("Invalid JSON")).to_be_hidden()


def test_an_error_of_the_server_is_shown_at_its_field(chromium: Browser, stack: Stack) -> None:
    visitor = Visitor(chromium, stack)
    page = visitor.page
    asks(page, visitor, "Form")
    page.get_by_role("button", name="Configure").click()
    form = page.get_by_role("dialog", name="Configure Form")
    form.get_by_label("Name").fill("Ada")
    form.get_by_label("Word").fill("forbidden")
    form.get_by_role("button", name="Save").click()
    write(page, "Kept meanwhile")

    expect(form.get_by_label("Word")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_text("has a value that is not allowed")).to_be_visible()
    expect(form.get_by_label("Name")).to_have_attribute("aria-invalid", "false")
    form.get_by_label("Word").fill("allowed")
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Message", exact=True)).to_have_value("Kept meanwhile")
    page.get_by_role("button", name="Send").click()
    assert received_config(page)["word"] == "allowed"
    visitor.leave(forgive="422")


def test_the_steps_of_a_run_are_a_line_that_expands(visitor: Visitor, tmp_path: Path) -> None:
    thread = visitor.client.thread()
    gate = tmp_path / "gate"
    page = visitor.open(thread)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    asked = visitor.fake(thread, "Work", mode="steps", text="Done.", path=str(gate))
    page.get_by_role("treeitem", name=re.compile("Done.")).click()
    answer = turn(page, asked["states"][0])
    line = answer.locator(".collapsible-quiet")
    expect(line.locator(".collapsible-title")).to_have_text("Looking")
    opened(gate)
    expect(line.locator(".collapsible-title")).to_have_text("2 steps")
    expect(answer.get_by_role("button", name=re.compile("12 → 3 tokens"))).to_be_visible()

    page.reload()
    expect(line.locator("summary")).to_contain_text(re.compile(r"2 steps.*\d+(\.\d)? m?s"))
    expect(line.get_by_text("Looking")).to_be_hidden()
    line.locator("summary").click()
    expect(line.locator("li span")).to_have_text(["Looking", "Thinking"])
    expect(line.locator("li time").first).to_have_text(re.compile(r"\d+(\.\d)? m?s"))


def test_images_are_shown_only_if_they_are_embedded(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    asked = visitor.answered(thread, "Show", mode="images")
    outside: list[str] = []
    page = visitor.page
    page.on(
        "request",
        lambda request: not request.url.startswith((visitor.url, "data:")) and outside.append(request.url),
    )
    visitor.open(thread, asked["states"][0])
    answer = turn(page, asked["states"][0])
    picture = answer.get_by_role("img", name="A red dot")
    expect(picture).to_be_visible()
    page.wait_for_function("document.querySelector('.image img').naturalWidth === 24")
    expect(answer.locator(".no-image")).to_have_count(3)
    assert answer.locator("img").count() == 1
    assert page.evaluate("window.hit") is None
    assert outside == []


VIEWS = {"s": ".turn-answer", "compare": ".column", "map": ".map-node"}
LARGER_FONT = """new MutationObserver(() => {
    if (document.documentElement) document.documentElement.style.fontSize = '200%';
}).observe(document, {childList: true})"""


@pytest.mark.slow
def test_with_a_font_of_twice_the_size_nothing_is_cut_off_or_covered(visitor: Visitor) -> None:
    page, thread = visitor.page, visitor.client.thread(title="Some words that make a long title")
    page.add_init_script(LARGER_FONT)
    first = visitor.answered(thread, "What is there to see?", text="These words are read. " * 12)
    visitor.answered(thread, None, first["input_state"]["id"], mode="steps", text="Others.")
    question = first["input_state"]["id"]
    wrong: dict[str, list[str]] = {}
    for view, sign in VIEWS.items():
        visitor.open(thread, question if view == "compare" else first["states"][0], view)
        expect(page.locator(sign).first).to_be_visible()
        wrong[view] = layout_errors(page)
    page.goto(f"{visitor.url}/settings")
    expect(page.get_by_role("heading", name="API tokens")).to_be_visible()
    wrong["settings"] = layout_errors(page)
    page.goto(visitor.url)
    expect(page.get_by_role("button", name="Worker:")).to_be_visible()
    wrong["welcome"] = layout_errors(page)
    page.get_by_role("button", name="Worker:").click()
    expect(page.get_by_text("Ask several workers", exact=True)).to_be_visible()
    wrong["chooser"] = layout_errors(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("option", name="New thread")).to_be_visible()
    wrong["palette"] = layout_errors(page)
    assert {view: those for view, those in wrong.items() if those} == {}


def test_any_message_can_be_edited_and_continued_from(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    first = visitor.answered(thread, "One", text="First answer")
    second = visitor.answered(thread, "Two", first["states"][0]["id"], text="Second answer")
    page = visitor.open(thread, second["states"][0])
    answer = turn(page, first["states"][0])
    answer.hover()
    answer.get_by_role("button", name="Edit").click()
    page.get_by_label("Edited message").fill("A better answer")
    page.get_by_role("button", name="Save as branch").click()
    better = page.locator(".turn-answer").first
    expect(better).to_contain_text("A better answer")
    expect(better).to_contain_text("added manually")
    expect(better.get_by_role("group", name="Branch 2 of 2")).to_be_visible()
    write(page, "And on")
    expect(page.locator(".turn-answer")).to_have_count(2)
    expect(page.locator(".turn-answer").last).to_contain_text(re.compile("Hello, world!|And on"))
    better.get_by_role("button", name="Previous branch").click()
    expect(turn(page, second["states"][0])).to_contain_text("Second answer")

    answer.hover()
    answer.get_by_role("button", name="Continue from here").click()
    expect(page.locator(".turn")).to_have_count(2)
    expect(page.get_by_text("The thread continues from here:")).to_be_visible()
    expect(page.get_by_text("starts a new branch")).to_be_visible()
    write(page, "Another way")
    expect(page.locator(".turn-user").last.get_by_role("group", name="Branch 2 of 2")).to_be_visible()


def test_the_input_of_the_model_is_shown_with_its_system_prompt(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    first = visitor.answered(thread, "One", text="First answer")
    prompt = "You are a pirate\nwho speaks like one."
    second = visitor.answered(thread, "Two", first["states"][0]["id"], system_prompt=prompt)
    page = visitor.open(thread, second["states"][0])
    answer = turn(page, second["states"][0])
    answer.hover()
    answer.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Show model input").click()
    shown = page.get_by_role("dialog", name="Model input")
    expect(shown.get_by_role("heading", level=3)).to_have_text(["System prompt", "User", "Assistant", "User"])
    expect(shown.locator("section")).to_contain_text([prompt, "One", "First answer", "Two"])
    assert axe(page) == []
    shown.get_by_role("button", name="Continue from there").click()
    expect(shown).to_be_hidden()
    expect(page.locator(".turn")).to_have_count(3)


@pytest.mark.slow
def test_keys_scroll_from_fork_to_fork_without_animation_if_motion_is_reduced(
    chromium: Browser, stack: Stack
) -> None:
    visitor = Visitor(chromium, stack, reduced_motion="reduce")
    thread, end, forks = visitor.client.thread(), None, []
    for number in range(4):
        asked = visitor.answered(thread, f"Question {number}", end, text="A line.\n\n", count=30)
        visitor.answered(thread, None, asked["input_state"]["id"], text="Beside")
        end = asked["states"][0]["id"]
        forks.append(end)
    page = visitor.open(thread, end)
    expect(turn(page, forks[-1])).to_be_visible()
    at_its_end = "box => box.scrollHeight - box.scrollTop - box.clientHeight < 2"
    page.wait_for_function(f"({at_its_end})(document.querySelector('.conversation'))")
    expect(page.get_by_role("group", name=re.compile("^Branch 1 of 2$"))).to_have_count(4)
    page.locator("h1 button").focus()
    top = "box => Math.round(box.getBoundingClientRect().top)"
    view = page.locator(".conversation").evaluate(top)
    for key, fork in (("Up", 3), ("Up", 2), ("Up", 1), ("Down", 2), ("Down", 3)):
        page.keyboard.press(f"Alt+Arrow{key}")
        shown = turn(page, forks[fork])
        until(lambda shown=shown: abs(shown.evaluate(top) - view) < 40, what=f"fork {fork} by {key}")
    assert page.evaluate("document.getAnimations().filter(one => one.playState === 'running').length") == 0
    visitor.leave()


def test_the_workers_that_a_run_calls_are_a_card_that_opens_live(visitor: Visitor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    thread = visitor.client.thread()
    last = {"way": "both", "last": [{"way": "say"}, {"way": "hold", "until": str(gate)}]}
    args = {"way": "chain", "depth": 1, "last": last}
    asked = visitor.client.ask(thread, "Go", worker_id="team", args=args)
    page = visitor.open(thread, asked["states"][0])
    answer = turn(page, asked["states"][0])

    answer.get_by_text("Sub-runs", exact=True).click()
    children = answer.get_by_role("list", name="Sub-runs").first
    expect(children.get_by_text("working …").first).to_be_visible()
    children.get_by_text("Team", exact=True).first.click()
    children.get_by_text("Sub-runs", exact=True).click()
    expect(children.get_by_role("list", name="Sub-runs").get_by_text("done")).to_have_count(1)
    assert axe(page) == []
    opened(gate)

    expect(children.get_by_text("held]")).to_be_visible()
    expect(answer).to_have_attribute("data-status", "success")
    expect(children.get_by_text("done")).to_have_count(3)
    page.reload()
    answer.get_by_text("Sub-runs", exact=True).click()
    expect(answer.get_by_role("list", name="Sub-runs").get_by_text("done")).to_be_visible()
