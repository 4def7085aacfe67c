"""A tour of the interface: every view, with something in it, one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import expect

from tests.support.browser import Visitor, turn

MARKDOWN = """# Title\n\nWords, `code` and **more**, $x^2$.\n
```python\nprint("hello")  # says it\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n
- [ ] to do\n- [x] done\n\n> quoted\n"""
ARABIC = "مرحبا بالعالم، هذا نص طويل بما يكفي ليمتد على أكثر من سطر واحد في نافذة ضيقة"


def varied_thread(visitor: Visitor) -> dict[str, Any]:
    """A thread with a bit of everything; the states that tests use, by name."""
    thread = visitor.client.thread(title="A bit of everything")
    first = visitor.answered(thread, "What is there?", text=MARKDOWN)
    question = first["input_state"]["id"]
    second = visitor.answered(thread, None, question, text="Something else")
    end = first["states"][0]["id"]
    kinds = visitor.answered(thread, "Every kind", end, mode="messages")
    failed = visitor.answered(thread, "Fail", end, mode="fail")
    asks = visitor.fake(thread, "Ask me", end, mode="confirm", text="So: ")
    visitor.client.patch(f"/api/states/{end}", json={"starred": True, "label": "Good"}).raise_for_status()
    return {
        "thread": thread,
        "question": question,
        "second": second["states"][0]["id"],
        **{
            name: run["states"][0]["id"]
            for name, run in (("kinds", kinds), ("failed", failed), ("asks", asks))
        },
    }


class Tour:
    """Shows one view after the other, and says its name."""

    def __init__(self, visitor: Visitor, *, narrow: bool) -> None:
        """``narrow``: the window has no room for the sidebar and the outline, so they are opened."""
        self._visitor, self._page, self._narrow = visitor, visitor.page, narrow
        self._made = varied_thread(visitor)
        self._thread = self._made["thread"]

    def __iter__(self) -> Iterator[str]:
        yield from self._turns()
        yield from self._session()
        yield from self._dialogs()
        yield from self._views()
        yield from self._new_thread()
        yield from self._lists()
        yield from self._accounts()

    def _turns(self) -> Iterator[str]:
        page, visitor = self._page, self._visitor
        for name in ("kinds", "failed", "asks", "second"):
            visitor.open(self._thread, self._made[name])
            expect(turn(page, self._made[name])).to_be_visible()
            for fold in turn(page, self._made[name]).locator("summary").all():
                fold.click()
            yield name
        if self._narrow:
            page.get_by_role("button", name="Show outline").click()
        expect(page.get_by_role("treeitem").first).to_be_visible()
        yield "outline"
        visitor.open(self._thread, self._made["asks"])
        page.get_by_role("group", name="Input needed").get_by_role("button", name="yes").click()
        expect(turn(page, self._made["asks"])).to_contain_text("You said yes.")
        yield "answered"
        again = visitor.fake(self._thread, "Busy", self._made["second"], mode="fail", retryable=True)
        visitor.open(self._thread, again["states"][0])
        expect(page.get_by_text("Trying again")).to_be_visible()
        yield "retried"
        steered = visitor.client.thread(title="Steered")
        busy = visitor.fake(steered, "Tell me of cats", count=600, gap=0.1)["runs"][0]
        waiting = [{"role": "user", "content": text} for text in ("And birds?", ARABIC)]
        sent = visitor.client.post(f"/api/runs/{busy['id']}/messages", json={"messages": waiting})
        sent.raise_for_status()
        visitor.open(steered, busy["output_state_id"])
        expect(page.get_by_role("region", name="Queued messages").get_by_role("listitem")).to_have_count(2)
        yield "queued"
        visitor.client.post(f"/api/runs/{busy['id']}/cancel").raise_for_status()

    def _session(self) -> Iterator[str]:
        """A thread that goes on by itself, and what its bar opens."""
        page, visitor = self._page, self._visitor
        thread = visitor.client.thread(title="On and on", worker_id="fake")
        path = f"/api/threads/{thread['id']}/session"
        visitor.client.post(path, json={"auto": {"enabled": True}}).raise_for_status()
        body = {"messages": [{"role": "user", "content": "Go on until you are done"}]}
        visitor.client.post(f"{path}/messages", json=body).raise_for_status()
        visitor.open(thread)
        bar = page.get_by_role("region", name="Session")
        expect(bar).to_contain_text("It has answered the same twice.")
        expect(page.get_by_role("article", name="Asked by itself")).to_be_visible()
        yield "session"
        actions = bar.get_by_role("button", name="Session actions")
        for item in ("Limits and prompt", "History"):
            actions.click()
            page.get_by_role("menuitem", name=item).click()
            yield from self._dialog(item)

    def _dialogs(self) -> Iterator[str]:
        """What opens above a thread."""
        page, visitor, answer = self._page, self._visitor, self._made["kinds"]
        visitor.open(self._thread, answer)
        shown = turn(page, answer)
        actions = shown.get_by_role("button", name="More actions")
        actions.click()
        expect(page.get_by_role("menuitem", name="Copy link")).to_be_visible()
        yield "menu of a message"
        page.get_by_role("menuitem", name="Show model input").click()
        yield from self._dialog("model input")
        actions.click()
        page.get_by_role("menuitem", name="Add label").click()
        yield from self._dialog("label")
        shown.locator(".run-footer").click()
        yield from self._dialog("run details")
        page.get_by_role("button", name="Thread actions").click()
        expect(page.get_by_role("menuitem", name="Delete")).to_be_visible()
        yield "menu of a thread"
        page.keyboard.press("Escape")
        question = page.locator(".turn-user").last
        question.get_by_role("button", name="Edit").click()
        expect(page.get_by_role("button", name="Save as branch")).to_be_visible()
        yield "edit"
        page.get_by_role("button", name="Cancel").click()
        page.keyboard.press("Control+/")
        yield from self._dialog("shortcuts")

    def _dialog(self, name: str) -> Iterator[str]:
        dialog = self._page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        expect(dialog.get_by_text("Loading")).to_be_hidden()
        yield name
        self._page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()

    def _views(self) -> Iterator[str]:
        page, visitor = self._page, self._visitor
        visitor.open(self._thread, self._made["question"], "compare")
        expect(page.get_by_role("article", name="Branch")).to_have_count(2)
        yield "comparison"
        page.get_by_role("button", name="Show differences").click()
        expect(page.locator("ins").first).to_be_visible()
        yield "differences"
        visitor.open(self._thread, self._made["kinds"], "map")
        page.get_by_role("button", name="Center selection").click()
        expect(page.locator(".map-node").first).to_be_visible()
        yield "map"
        arabic = visitor.client.thread(title=ARABIC)
        text = f"{ARABIC}\n\n1. {ARABIC}\n2. English\n\n`code`, {ARABIC}\n"
        asked = visitor.answered(arabic, ARABIC, text=text)
        visitor.answered(arabic, None, asked["input_state"]["id"], text=ARABIC)
        visitor.open(arabic, asked["states"][0])
        expect(turn(page, asked["states"][0])).to_be_visible()
        yield "arabic"
        visitor.open(arabic, asked["input_state"], "compare")
        expect(page.get_by_role("article", name="Branch")).to_have_count(2)
        yield "arabic comparison"
        page.goto(f"{visitor.url}/t/{self._made['question']}")
        expect(page.get_by_role("heading", name="Thread not found")).to_be_visible()
        yield "not found"

    def _new_thread(self) -> Iterator[str]:
        page = self._page
        page.goto(self._visitor.url)
        expect(page.get_by_role("button", name="Worker:")).to_be_visible()
        yield "welcome"
        page.get_by_role("button", name="Worker:").click()
        expect(page.get_by_text("Repeats your last message")).to_be_visible()
        yield "chooser"
        page.get_by_role("button", name=re.compile("^Form")).click()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Configure").click()
        form = page.get_by_role("dialog", name="Configure Form")
        form.get_by_label("Latitude").fill("100")
        form.get_by_role("group", name="Tags").get_by_role("button", name="Add").click()
        form.get_by_label("Extra").fill("{")
        form.get_by_role("button", name="Save").click()
        expect(form.get_by_text("must be at most 90")).to_be_visible()
        yield "errors of a form"
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog", name="Discard your changes?")).to_be_visible()
        yield "a dialog above a dialog"
        page.get_by_role("button", name="Discard").click()
        expect(form).to_be_hidden()
        page.keyboard.press("Control+k")
        expect(page.get_by_role("option", name="New thread")).to_be_visible()
        yield "palette"
        page.keyboard.press("Escape")

    def _lists(self) -> Iterator[str]:
        page, client = self._page, self._visitor.client
        for number in range(3):
            thread = client.thread(title=f"Archived thread {number} with a title that is longer")
            client.patch(f"/api/threads/{thread['id']}", json={"status": "archived"}).raise_for_status()
            thread = client.thread(title=f"Deleted thread {number} with a title that is longer")
            client.delete(f"/api/threads/{thread['id']}").raise_for_status()
        self._show_sidebar()
        expect(page.get_by_role("link", name="A bit of everything")).to_be_visible()
        yield "threads"
        page.get_by_role("button", name="Actions for A bit of everything").click()
        expect(page.get_by_role("menuitem", name="Rename")).to_be_visible()
        yield "menu of the list"
        page.keyboard.press("Escape")
        page.get_by_label("Search titles and messages").fill("something")
        expect(page.locator(".snippet mark")).to_be_visible()
        yield "search"
        page.get_by_label("Search titles and messages").fill("nowhere to be found")
        expect(page.get_by_text("No results")).to_be_visible()
        yield "no results"
        page.get_by_label("Search titles and messages").fill("")
        self._account("Show archive")
        expect(page.get_by_role("link", name="Archived thread 0")).to_be_visible()
        yield "archive"
        page.goto(f"{self._visitor.url}/trash")
        expect(page.get_by_text("Deleted thread 0")).to_be_visible()
        yield "trash"
        page.get_by_role("button", name="Empty trash").click()
        yield from self._dialog("confirmation")
        page.get_by_role("button", name="Restore Deleted thread 0").click()
        expect(page.get_by_role("button", name="Open", exact=True)).to_be_visible()
        yield "notification"

    def _accounts(self) -> Iterator[str]:
        page = self._page
        page.goto(f"{self._visitor.url}/settings")
        page.get_by_label("Token name").fill("A token for the laptop")
        page.get_by_role("button", name="Create token").click()
        expect(page.get_by_text("created. Copy it now")).to_be_visible()
        yield "settings"
        page.goto(self._visitor.url)
        self._show_sidebar()
        page.get_by_role("button", name="Account:").click()
        expect(page.get_by_role("menuitem", name="Sign out")).to_be_visible()
        yield "menu of the account"
        page.get_by_role("menuitem", name="Sign out").click()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        yield "entrance"
        page.get_by_role("link", name="Create account").click()
        page.get_by_label("Email").fill("nobody")
        page.get_by_label("Password").fill("short")
        page.get_by_role("button", name="Create account").click()
        expect(page.get_by_text("is not an email address")).to_be_visible()
        yield "register"

    def _show_sidebar(self) -> None:
        if self._narrow:
            self._page.get_by_role("button", name="Show sidebar").click()

    def _account(self, item: str) -> None:
        self._page.get_by_role("button", name="Account:").click()
        self._page.get_by_role("menuitem", name=item).click()
