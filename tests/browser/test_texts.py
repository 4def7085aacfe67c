"""What the texts of people and models look like: formulas, scripts from right to left, code, consoles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.browser import Visitor, opened, turn

FORMULAS = r"""
Let \(x \in \mathbb{R}\), $\mathbf{v}$, $\mathcal{L}$, $\mathfrak{g}$ and $\boldsymbol{\alpha}$.

- a sum: \[ f(x) = \begin{cases} 1 & x > 0 \\ 0 & x < 0 \\ 2 & x = 0 \end{cases} \]

$$
\begin{pmatrix} a \\ b \\ c \end{pmatrix}
$$

It was $5 and then $10.
"""

# The font of the letter in each formula, and whether the browser has loaded it.
LETTERS = """answer => [...answer.querySelectorAll('.katex-html')].slice(0, 5).map(formula => {
    const letter = [...formula.querySelectorAll('.mord')].findLast(one => !one.children.length);
    const {fontFamily, fontWeight, fontStyle} = getComputedStyle(letter);
    const font = `${fontStyle} ${fontWeight} 16px ${fontFamily.split(',')[0]}`;
    return [letter.textContent, fontFamily.split(',')[0], fontWeight, document.fonts.check(font)];
})"""

# How high the first delimiter of a formula is, in parts of what it encloses.
DELIMITER = """formula => {
    const height = name => formula.querySelector(name).getBoundingClientRect().height;
    return height('.mopen') / height('.mtable');
}"""


def show(visitor: Visitor, text: str, **config: Any) -> Page:
    """A thread in which the worker ``fake`` has answered with this text."""
    thread = visitor.client.thread()
    asked = visitor.answered(thread, "Show it", text=text, **config)
    return visitor.open(thread, asked["states"][0])


def test_formulas_are_drawn_with_their_letters_and_delimiters(visitor: Visitor) -> None:
    answer = show(visitor, FORMULAS).locator(".turn-answer .prose")
    expect(answer.locator(".katex")).to_have_count(7)
    # The layout asks for the fonts, which are loaded when the promise is kept.
    answer.evaluate("answer => answer.clientHeight && document.fonts.ready.then(() => true)")
    assert answer.evaluate(LETTERS) == [
        ["R", "KaTeX_AMS", "400", True],
        ["v", "KaTeX_Main", "700", True],
        ["L", "KaTeX_Caligraphic", "400", True],
        ["g", "KaTeX_Fraktur", "400", True],
        ["α", "KaTeX_Math", "700", True],
    ]
    cases, matrix = answer.locator(".formula-display").all()
    assert cases.evaluate(DELIMITER) > 0.9
    assert matrix.evaluate(DELIMITER) > 0.9
    expect(answer.locator("li")).to_contain_text("a sum:")
    expect(answer).to_contain_text("It was $5 and then $10.")


def test_half_a_formula_is_not_shown(visitor: Visitor, tmp_path: Path) -> None:
    thread = visitor.client.thread()
    gate = tmp_path / "gate"
    # The text is said twice, so the second half closes what the first one opens.
    asked = visitor.fake(thread, "Half", mode="gate", text=r"} end \) So \( \sqrt{x", path=str(gate))
    page = visitor.open(thread, asked["states"][0])
    answer = turn(page, asked["states"][0])
    prose = answer.locator(".prose")
    expect(prose).to_have_text("} end ) So ")
    opened(gate)
    expect(answer).to_have_attribute("data-status", "success")
    expect(prose.locator(".katex")).to_have_count(1)
    assert "sqrt" in (prose.locator("annotation").text_content() or "")


HEBREW = "שלום עולם, זו כותרת ארוכה מאוד שאין לה מקום בשורה אחת ולכן היא נחתכת"
DIRECTION = "element => getComputedStyle(element).direction"


def test_texts_from_right_to_left_begin_at_the_right(visitor: Visitor) -> None:
    thread = visitor.client.thread(title=HEBREW)
    text = f"`code` {HEBREW}\n\n1. {HEBREW}\n2. English\n\n```\n{HEBREW}\n```\n\nEnglish\n"
    asked = visitor.answered(thread, HEBREW, text=text)
    page = visitor.open(thread, asked["states"][0])
    blocks = turn(page, asked["states"][0]).locator(".prose > *")
    expect(blocks).to_have_count(4)
    assert blocks.evaluate_all("all => all.map(one => getComputedStyle(one).direction)") == [
        "rtl", "rtl", "ltr", "ltr",
    ]  # fmt: skip
    assert blocks.nth(2).locator("pre").evaluate(DIRECTION) == "ltr"
    assert blocks.nth(0).locator("code").evaluate(DIRECTION) == "ltr"
    # The English item in the Hebrew list is written from left to right, and stands by its number.
    english = blocks.nth(1).locator("li").nth(1)
    expect(english).to_have_css("unicode-bidi", "plaintext")
    expect(english).to_have_css("text-align", "right")
    question = page.locator(".turn-user .user-text")
    assert question.evaluate(DIRECTION) == "rtl"

    composer = page.get_by_label("Message", exact=True)
    composer.fill("שלום")
    assert composer.evaluate(DIRECTION) == "rtl"
    # A title is cut at its end, which is at the left.
    for title in (page.locator(".thread-title").first, page.locator(".tree-title.from-user").last):
        expect(title).to_contain_text("שלום")
        assert title.evaluate(DIRECTION) == "rtl"
        assert title.evaluate("title => title.scrollWidth > title.clientWidth && title.scrollLeft === 0")

    search = page.get_by_label("Search titles and messages")
    search.fill(f"{HEBREW} 404")
    expect(page.locator(".empty-list bdi")).to_contain_text(HEBREW)
    search.fill("שלום")
    expect(page.locator(".thread-title mark")).to_have_text("שלום")
    for text in (search, page.locator(".thread-title")):
        assert text.evaluate(DIRECTION) == "rtl"


@pytest.mark.slow
def test_the_comparison_of_texts_from_right_to_left_begins_at_the_right(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    first = visitor.answered(thread, HEBREW, text=f"{HEBREW} 1")
    visitor.answered(thread, None, first["input_state"]["id"], text=f"{HEBREW} 2")
    page = visitor.open(thread, first["input_state"], "compare")
    page.get_by_role("button", name="Show differences").click()
    reply = page.get_by_label("Reply to all branches")
    reply.fill("שלום")
    expect(page.locator(".word-diff ins")).to_have_text("2")
    for text in (page.locator(".compare-question"), page.locator(".word-diff"), reply):
        assert text.evaluate(DIRECTION) == "rtl"
    page.emulate_media(forced_colors="active")
    expect(page.locator(".word-diff ins")).to_have_css("text-decoration-line", "underline")


# How far the number of the last item reaches out of the block that clips it, in pixels.
OVERHANG = """list => {
    const canvas = document.createElement('canvas').getContext('2d');
    const {font, paddingInlineStart} = getComputedStyle(list);
    canvas.font = font;
    return canvas.measureText('120. ').width - parseFloat(paddingInlineStart);
}"""


def test_lists_show_their_numbers_and_boxes(visitor: Visitor) -> None:
    numbers = "".join(f"{number}. item\n" for number in range(1, 121))
    page = show(visitor, f"{numbers}\nand\n\n- [x] done\n- [ ] open\n- plain\n\n`a -> b != c`\n")
    prose = page.locator(".turn-answer .prose")
    expect(prose.locator("ol li")).to_have_count(120)
    assert prose.locator("ol").evaluate(OVERHANG) <= 0
    marks = "items => items.map(item => getComputedStyle(item).listStyleType)"
    assert prose.locator("ul li").evaluate_all(marks) == ["none", "none", "disc"]
    expect(prose.get_by_role("img", name="Done", exact=True)).to_be_visible()
    expect(prose.get_by_role("img", name="To do", exact=True)).to_be_visible()
    assert prose.locator("code").evaluate("code => getComputedStyle(code).fontVariantLigatures") == "none"


# A key press as Safari ends a composition with it (229), and an ordinary one.
PRESS = """(field, [key, keyCode]) => field.dispatchEvent(
    new KeyboardEvent('keydown', {key, keyCode, bubbles: true, cancelable: true}))"""


@pytest.mark.slow
def test_the_enter_of_an_input_method_sends_nothing(visitor: Visitor) -> None:
    page = visitor.open(visitor.client.thread())
    visitor.configure(page)
    field = page.get_by_label("Message", exact=True)
    field.fill("にほん")
    assert field.evaluate(PRESS, ["Enter", 229])
    expect(field).to_have_value("にほん")
    expect(page.locator(".turn-user")).to_have_count(0)
    assert not field.evaluate(PRESS, ["Enter", 13])
    expect(page.locator(".turn-user")).to_have_count(1)


@pytest.mark.slow
def test_the_escape_of_an_input_method_clears_and_closes_nothing(chromium: Browser, stack: Stack) -> None:
    visitor = Visitor(chromium, stack, viewport={"width": 600, "height": 800})
    page = visitor.open(visitor.client.thread())
    page.get_by_role("button", name="Show sidebar").click()
    search = page.get_by_label("Search titles and messages")
    search.fill("にほん")
    search.evaluate(PRESS, ["Escape", 229])
    expect(search).to_have_value("にほん")
    search.evaluate(PRESS, ["Escape", 27])
    expect(search).to_have_count(0)
    visitor.leave()


def expect_pasted(page: Page, text: str) -> None:
    """Expect a text on the clipboard, as a paste into the composer shows it."""
    field = page.get_by_label("Message", exact=True)
    field.fill("")
    field.press("ControlOrMeta+v")
    expect(field).to_have_value(text)


@pytest.mark.slow
def test_an_answer_is_copied_over_plain_http_too(visitor: Visitor) -> None:
    page = visitor.page
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    thread = visitor.client.thread()
    text = "The **sum** &amp; the &lt;rest&gt;\n\n```python\n1 + 2\n```\n"
    asked = visitor.answered(thread, "Sum", text=text)
    visitor.open(thread, asked["states"][0])
    answer = turn(page, asked["states"][0])
    answer.get_by_role("button", name="Copy", exact=True).click()
    expect(answer.get_by_role("button", name="Copied")).to_be_visible()
    expect_pasted(page, text.strip())
    answer.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Copy as plain text").click()
    expect(page.get_by_role("menu")).to_be_hidden()
    expect_pasted(page, "The sum & the <rest>\n\n1 + 2")
    answer.get_by_role("button", name="Copy code").click()
    expect_pasted(page, "1 + 2")

    page.evaluate("document.execCommand = () => false")
    answer.get_by_role("button", name="Copy code").click()
    expect(page.get_by_role("alert")).to_contain_text("does not allow copying")


def test_consoles_and_results_look_as_in_a_terminal(visitor: Visitor) -> None:
    thread = visitor.client.thread()
    message = {"role": "assistant", "type": "console", "content": "\x1b[31mred\x1b[0m\n10 %\r100 %\n"}
    call = {"role": "assistant", "type": "function", "content": "", "data": {"name": "look", "call_id": "1"}}
    result = {
        "role": "tool", "type": "function", "content": "line\n" * 200,
        "data": {"call_id": "1", "is_error": True},
    }  # fmt: skip
    body = {"parent_id": thread["root_state_id"], "messages": [message, call, result]}
    state = visitor.client.post(f"/api/threads/{thread['id']}/states", json=body).json()["state"]
    page = visitor.open(thread, state)
    console = page.locator(".console")
    expect(console).to_have_text("red\n100 %\n")
    expect(console.locator(".ansi-red")).to_have_text("red")
    tool = page.locator("details").filter(has_text="look")
    expect(tool).to_contain_text("failed")
    tool.locator("summary").click()
    expect(tool.get_by_text("Error", exact=True)).to_be_visible()
    is_bounded = "pre => pre.clientHeight < 400 && pre.scrollHeight > 2000"
    until(lambda: tool.locator("pre").last.evaluate(is_bounded), what="a part of the result is shown")


def test_thoughts_in_a_text_are_folded_and_in_no_title(visitor: Visitor) -> None:
    page = show(visitor, "<think>\nA sum is wanted.\n</think>\n\nThe **sum** is 3.")
    answer = page.locator(".turn-answer")
    expect(answer.locator(".prose").last).to_have_text("The sum is 3.")
    thought = answer.locator("details").filter(has_text="Reasoning")
    expect(thought.get_by_text("A sum is wanted.")).to_be_hidden()
    thought.locator("summary").click()
    expect(thought.get_by_text("A sum is wanted.")).to_be_visible()
    expect(answer).not_to_contain_text("think>")
    expect(page.get_by_role("treeitem").last).to_have_accessible_name(re.compile("The sum is 3."))


@pytest.mark.slow
def test_a_thought_of_which_only_the_end_is_marked_is_folded_once_it_is_there(
    visitor: Visitor, tmp_path: Path
) -> None:
    thread = visitor.client.thread()
    gate = tmp_path / "gate"
    asked = visitor.fake(
        thread, "Sum", mode="gate", text="A sum is wanted.\n</think>\n\nIt is 3.", path=str(gate)
    )
    page = visitor.open(thread, asked["states"][0])
    answer = turn(page, asked["states"][0])
    expect(answer.locator("details").filter(has_text="Reasoning")).to_be_visible()
    expect(answer.get_by_text("A sum is wanted.").first).to_be_hidden()
    expect(answer.locator(".prose").last).to_have_text("It is 3.")
    opened(gate)
    expect(answer).to_have_attribute("data-status", "success")


# A browser whose moments are idle only when a test says so.
NEVER_IDLE = """window.idle = [];
window.requestIdleCallback = step => idle.push(step);
window.cancelIdleCallback = () => {};"""


def test_a_long_text_is_rendered_from_what_is_seen_first(visitor: Visitor) -> None:
    numbers = [f"Paragraph {number} of many." for number in range(400)]
    visitor.page.add_init_script(NEVER_IDLE)
    page = show(visitor, "\n\n".join(numbers))
    blocks = page.locator(".turn-answer .prose > .block")
    expect(blocks).to_have_text(numbers[300:])
    expect(blocks.last).to_be_in_viewport()
    page.evaluate("idle.shift()()")
    expect(blocks).to_have_text(numbers[250:])
    expect(blocks.last).to_be_in_viewport()
    page.evaluate("window.always = setInterval(() => idle.splice(0).forEach(step => step()))")
    expect(blocks).to_have_text(numbers)


def test_a_long_text_is_rendered_as_a_whole_where_a_search_has_found_it(visitor: Visitor) -> None:
    numbers = [f"Paragraph {number} of many." for number in range(400)]
    thread = visitor.client.thread(title="Long")
    visitor.answered(thread, "Show it", text="A needle in it.\n\n" + "\n\n".join(numbers))
    page = visitor.page
    page.add_init_script(NEVER_IDLE)
    page.goto(visitor.url)
    page.get_by_label("Search titles and messages").fill("needle")
    expect(page.locator(".snippet mark")).to_have_text("needle")
    page.get_by_role("link", name="Long").click()
    blocks = page.locator(".turn-answer .prose > .block")
    expect(blocks).to_have_count(401)
    expect(blocks.first).to_be_in_viewport()


def test_code_is_highlighted_once_it_is_whole(visitor: Visitor, tmp_path: Path) -> None:
    thread = visitor.client.thread()
    gate = tmp_path / "gate"
    text = "x = 1\n\n```python\ny = 2\n"
    asked = visitor.fake(thread, "Code", mode="gate", text=text, path=str(gate))
    page = visitor.open(thread, asked["states"][0])
    code = turn(page, asked["states"][0]).locator("figure.code")
    expect(code).to_contain_text("y = 2")
    expect(code.locator(".hljs-number")).to_have_count(0)
    opened(gate)
    expect(code.locator(".hljs-number")).to_have_count(3)
