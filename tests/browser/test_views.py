"""Every view: with the keyboard, with screen readers, in the dark theme, on a phone, and with many states."""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.browser import Visitor, axe, turn, write
from tests.support.layout import layout_errors
from tests.support.tour import Tour, varied_thread

Shape = dict[str, Any]
"""A size of the window, and how it is emulated."""

SHAPES: dict[str, list[tuple[str, Shape, Shape]]] = {
    "wide": [
        ("1280 light", {"width": 1280, "height": 800}, {"color_scheme": "light"}),
        ("1280 dark", {"width": 1280, "height": 800}, {"color_scheme": "dark"}),
        ("1920 light", {"width": 1920, "height": 1080}, {"color_scheme": "light"}),
        ("1920 dark", {"width": 1920, "height": 1080}, {"color_scheme": "dark"}),
        ("1280 forced", {"width": 1280, "height": 800}, {"forced_colors": "active"}),
    ],
    "narrow": [
        ("390 dark", {"width": 390, "height": 800}, {"color_scheme": "dark"}),
        ("390 light", {"width": 390, "height": 800}, {"color_scheme": "light"}),
        ("390 forced", {"width": 390, "height": 800}, {"forced_colors": "active"}),
        # A window of 1280 × 800 at a zoom of 200 %.
        ("640 zoomed", {"width": 640, "height": 400}, {"color_scheme": "light"}),
    ],
}
"""The first one is that in which a view is opened, and which axe examines."""


@pytest.mark.slow
@pytest.mark.timeout(400)  # some forty views, each in four or five shapes
@pytest.mark.parametrize("kind", SHAPES)
def test_every_view_is_accessible_and_nothing_in_it_is_cut_covered_or_too_small(
    chromium: Browser, stack: Stack, kind: str
) -> None:
    (_, size, media), *_ = SHAPES[kind]
    visitor = Visitor(chromium, stack, viewport=size, reduced_motion="reduce", **media)
    page, wrong = visitor.page, defaultdict(list)
    for view in Tour(visitor, narrow=kind == "narrow"):
        for error in axe(page):
            wrong[error].append(view)
        for shape, size, media in reversed(SHAPES[kind]):
            page.set_viewport_size(size)
            page.emulate_media(**{"color_scheme": "light", "forced_colors": "none", **media})
            for error in layout_errors(page):
                wrong[error].append(f"{view} at {shape}")
            take_picture(page, view, shape)
    assert not wrong, "\n".join(f"{error}: {', '.join(views)}" for error, views in wrong.items())
    visitor.leave(forgive="status of 4")


def take_picture(page: Page, view: str, shape: str) -> None:
    """Keep what is seen in the folder that ``BRANCHLINE_TEST_PICTURES`` names, if it names one."""
    folder = os.environ.get("BRANCHLINE_TEST_PICTURES")
    if folder:
        page.screenshot(path=Path(folder) / shape / f"{view}.jpg", type="jpeg", quality=60)


def test_the_view_of_a_thread_is_changed_before_it_is_loaded(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    state = visitor.answered(thread, "Where?")["states"][0]
    held: list[Route] = []
    visitor.page.route("**/snapshot*", lambda route: held.append(route))
    page = visitor.open(thread, state, "map")

    page.get_by_role("button", name="Chat", exact=True).click()

    expect(page).to_have_url(re.compile(f"/t/{thread['id']}/s/{state['id']}$"))
    until(lambda: page.evaluate("1") and held, what="the page asks for the thread")
    held[0].continue_()
    page.unroute_all()
    expect(turn(page, state)).to_be_visible()


def test_the_outline_is_used_by_keyboard(visitor: Visitor) -> None:
    made = varied_thread(visitor)
    page = visitor.open(made["thread"], made["kinds"])
    page.get_by_role("treeitem", selected=True).focus()

    def focused(words: str) -> None:
        """Wait until the row with the focus says that."""
        page.wait_for_function(
            "words => document.activeElement.getAttribute('aria-label')?.includes(words)", arg=words
        )

    def press(key: str, words: str) -> None:
        page.keyboard.press(key)
        focused(words)

    focused("The sum is 3.")
    press("Home", "What is there?")
    press("ArrowDown", "Good")
    press("ArrowRight", "Every kind")
    press("ArrowLeft", "Good")
    row = page.get_by_role("treeitem", name=re.compile("Good"))
    page.keyboard.press("ArrowLeft")
    expect(row).to_have_attribute("aria-expanded", "false")
    press("ArrowDown", "Something else")
    press("ArrowUp", "Good")
    page.keyboard.press("ArrowRight")
    expect(row).to_have_attribute("aria-expanded", "true")
    press("End", "Something else")
    press("f", "Fail")
    page.keyboard.press("ArrowDown")
    expect(page.locator(f'[data-row="{made["failed"]}"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(turn(page, made["failed"]).get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("treeitem", selected=True)).to_have_attribute("data-row", made["failed"])
    expect(page.locator('[role="treeitem"][tabindex="0"]')).to_have_count(1)


@pytest.mark.slow
def test_a_search_of_the_outline_shows_matches_on_collapsed_branches(visitor: Visitor) -> None:
    made = varied_thread(visitor)
    page = visitor.open(made["thread"], made["second"])
    page.get_by_role("button", name="Collapse other branches").click()
    expect(page.get_by_role("treeitem", name=re.compile("Every kind"))).to_have_count(0)
    page.get_by_label("Search tree").fill("every KIND")
    expect(page.get_by_role("treeitem", name=re.compile("Every kind"))).to_be_visible()
    page.keyboard.press("Enter")
    expect(turn(page, made["kinds"])).to_contain_text("The sum is 3.")


def test_help_palette_and_shortcuts_work(visitor: Visitor) -> None:
    page = visitor.page
    made = varied_thread(visitor)
    visitor.open(made["thread"], made["kinds"])
    expect(turn(page, made["kinds"])).to_be_visible()
    page.locator("h1").focus()
    page.keyboard.press("Control+/")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("dark")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("Something else")
    page.get_by_role("option", name=re.compile("Something else")).click()
    expect(turn(page, made["second"])).to_be_visible()
    page.keyboard.press("x")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()


def test_threads_are_found_renamed_archived_deleted_and_restored(visitor: Visitor) -> None:
    page = visitor.page
    for words in ("About apples", "About pears"):
        thread = visitor.client.thread(title=words)
        visitor.client.wait(visitor.client.ask(thread, f"{words}, with a secret of {words[-5:]}")["runs"][0])
    page.goto(visitor.url)
    row = page.get_by_role("link", name="About apples")
    page.get_by_label("Search titles and messages").fill("SECRET of pears")
    expect(page.get_by_role("link", name="About pears")).to_be_visible()
    expect(row).to_be_hidden()
    page.keyboard.press("Escape")

    menu = page.get_by_role("button", name="Actions for About apples")
    row.hover()
    menu.click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(row).to_be_hidden()
    page.get_by_role("button", name="Undo").click()
    expect(row).to_be_visible()
    row.hover()
    menu.click()
    page.get_by_role("menuitem", name="Archive").click()
    expect(row).to_be_hidden()
    page.get_by_role("button", name="Undo").click()
    row.hover()
    menu.click()
    page.get_by_role("menuitem", name="Rename").click()
    page.get_by_label("Title", exact=True).fill("About oranges")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="About oranges")).to_be_visible()


def test_a_worker_is_configured_by_a_form_that_validates(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(visitor.url)
    page.get_by_role("button", name="Configure").click()
    dialog = page.get_by_role("dialog", name="Configure Echo")
    dialog.get_by_label("Delay", exact=True).fill("-1")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_text("must be at least 0")).to_be_visible()
    dialog.get_by_label("Delay", exact=True).fill("1")
    dialog.get_by_label("Piece").select_option("character")
    dialog.get_by_role("button", name="Save").click()
    write(page, "Letter by letter")
    expect(page.locator(".turn-answer .prose")).to_have_text("Letter by letter")
    page.locator(".run-footer").click()
    expect(page.get_by_role("dialog")).to_contain_text('"piece": "character"')


def test_tokens_are_created_shown_once_and_revoked(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{visitor.url}/settings")
    page.get_by_label("Token name").fill("laptop")
    page.get_by_role("button", name="Create token").click()
    secret = page.locator(".secret code").inner_text()
    bearer = {"Authorization": f"Bearer {secret}"}
    assert visitor.context.request.get(f"{visitor.url}/api/me", headers=bearer).ok
    page.reload()
    expect(page.get_by_text("laptop")).to_be_visible()
    expect(page.locator(".secret")).to_be_hidden()
    page.get_by_role("button", name="Revoke laptop").click()
    expect(page.get_by_text("No tokens yet")).to_be_visible()
    visitor.context.clear_cookies()
    assert visitor.context.request.get(f"{visitor.url}/api/me", headers=bearer).status == 401


STATES = 5000


@pytest.fixture(scope="module")
def large() -> dict[str, Any]:
    """An export of many states: a line with a branch at every tenth."""
    at = "2026-01-01T00:00:00Z"
    states: list[dict[str, Any]] = [{"id": "s0", "parent_id": None, "created_at": at}]
    for number in range(1, STATES):
        role = "user" if number % 2 else "assistant"
        parent = f"s{number - 2 if number % 10 == 0 and number > 10 else number - 1}"
        messages = [{"role": role, "content": f"Words of state {number}, which are not many."}]
        states.append({"id": f"s{number}", "parent_id": parent, "created_at": at, "messages": messages})
    return {
        "format": "branchline-thread",
        "version": 1,
        "thread": {"title": "Large", "created_at": at},
        "states": states,
        "runs": [],
    }


@pytest.mark.soak  # its times are promises, and a busy machine keeps none
def test_a_thread_of_5000_states_opens_quickly_and_its_map_is_smooth(
    visitor: Visitor, large: dict[str, Any]
) -> None:
    answer = visitor.client.post("/api/threads/import", json=large)
    assert answer.status_code == 201, answer.text
    thread = answer.json()["thread"]
    page = visitor.page
    row = page.get_by_role("link", name="Large")

    def opened() -> float:
        """Seconds until its last message is shown."""
        page.goto(visitor.url)
        row.wait_for()
        began = time.monotonic()
        row.click()
        page.locator(".turn").get_by_text(f"Words of state {STATES - 1},").wait_for()
        return time.monotonic() - began

    took = min(opened() for _ in range(3))
    expect(page.locator(".count")).to_have_text(str(STATES - 1))
    assert page.get_by_role("treeitem").count() < 100
    page.locator(".conversation").hover()
    shown = page.locator(".turn")
    before = shown.count()
    page.mouse.wheel(0, -100_000)
    page.wait_for_function("count => document.querySelectorAll('.turn').length > count", arg=before)

    page.get_by_role("button", name="Map").click()
    page.locator(".map-lines").wait_for()
    page.get_by_role("button", name="Fit to screen").click()
    frames = frames_per_second(page)
    page.get_by_role("button", name="Center selection").click()
    page.locator(".map-node").first.wait_for()
    near = frames_per_second(page)
    assert thread["id"] in page.url
    assert took < 1, took
    assert min(frames, near) >= 30, (frames, near)


def frames_per_second(page: Page) -> float:
    """Drag the map for a second; the frames per second that were drawn."""
    return page.evaluate(
        """async () => {
            const pane = document.querySelector('.react-flow__pane');
            const fire = (type, x, y) => (type === 'mousedown' ? pane : window).dispatchEvent(
                new MouseEvent(type, {clientX: x, clientY: y, bubbles: true, view: window, buttons: 1}));
            fire('mousedown', 500, 400);
            const times = [];
            const start = performance.now();
            while (performance.now() - start < 1000) {
                await new Promise(requestAnimationFrame);
                times.push(performance.now());
                fire('mousemove', 500 + 3 * times.length, 400 + 2 * times.length);
            }
            fire('mouseup', 500, 400);
            return (times.length - 1) / (times.at(-1) - times[0]) * 1000;
        }"""
    )


@pytest.mark.slow
def test_a_thread_of_5000_states_renders_only_what_is_visible(
    visitor: Visitor, large: dict[str, Any]
) -> None:
    """The causes of the times that the test above measures, in numbers that do not depend on the machine."""
    answer = visitor.client.post("/api/threads/import", json=large)
    assert answer.status_code == 201, answer.text
    page = visitor.page
    page.goto(visitor.url)
    row = page.get_by_role("link", name="Large")
    row.wait_for()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    row.click()
    last = page.locator(".turn").get_by_text(f"Words of state {STATES - 1},")
    last.wait_for()
    expect(page.locator(".count")).to_have_text(str(STATES - 1))

    pages = [url for url in asked if "/states?" in url]
    assert len(pages) == STATES / 1000
    assert len(asked) - len(pages) <= 12, asked
    before = [url for url in asked[: asked.index(pages[0])] if "/api/" in url]
    assert len(before) <= 4, "the last messages are fetched before the tree"
    elements = "() => document.querySelectorAll('*').length"
    assert page.locator(".turn").count() <= 60
    assert page.get_by_role("treeitem").count() < 100
    assert page.evaluate(elements) < 3000

    page.get_by_role("button", name="Map").click()
    page.locator(".map-lines").wait_for()
    expect(page.locator(".map-node")).to_have_count(0)  # it opens fitted
    asked.clear()
    page.get_by_role("button", name="Center selection").click()
    page.locator(".map-node").first.wait_for()
    strokes = lines_per_frame(page)
    assert page.locator(".map-node").count() < 200
    assert strokes < STATES / 10, "zoomed in, only what is visible is drawn"
    page.get_by_role("button", name="Fit to screen").click()
    expect(page.locator(".map-node")).to_have_count(0)
    assert lines_per_frame(page) <= STATES, "zoomed out, each state is one line on one canvas"
    assert page.evaluate(elements) < 1000
    # The workers are fetched every half minute, whatever else happens.
    assert [url for url in asked if not url.endswith("/api/workers")] == []


def lines_per_frame(page: Page) -> float:
    """Drag the map a little; how many lines were drawn for each time that the canvas was cleared."""
    return page.evaluate(
        """async () => {
            const pen = CanvasRenderingContext2D.prototype;
            const {stroke, clearRect} = pen;
            let [lines, times] = [0, 0];
            pen.stroke = function (...given) { lines += 1; return stroke.apply(this, given); };
            pen.clearRect = function (...given) { times += 1; return clearRect.apply(this, given); };
            const pane = document.querySelector('.react-flow__pane');
            const fire = (type, x, y) => (type === 'mousedown' ? pane : window).dispatchEvent(
                new MouseEvent(type, {clientX: x, clientY: y, bubbles: true, view: window, buttons: 1}));
            fire('mousedown', 500, 400);
            for (let step = 1; step <= 5 || !times; step += 1) {
                fire('mousemove', 500 + step, 400 + step % 50);
                await new Promise(requestAnimationFrame);
            }
            fire('mouseup', 500, 400);
            Object.assign(pen, {stroke, clearRect});
            return lines / times;
        }"""
    )
