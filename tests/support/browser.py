"""A person with a browser, and with the API for what is not the test's subject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page

from runtime.settings import CHECKOUT
from runtime.testing.stack import Stack

AXE = CHECKOUT / "web/ui/node_modules/axe-core/axe.min.js"


PLAIN_HOST = "branchline.test"
"""A name of the stack whose pages are not secure, as over plain HTTP anywhere but on this machine."""


class Visitor:
    """Signed in, in a browser of their own; ``client`` does the same by the API."""

    def __init__(self, browser: Browser, stack: Stack, *, plain: bool = False, **context: Any) -> None:
        """``plain``: by a name whose pages are not secure. ``context`` is Playwright's."""
        self.url = f"http://{PLAIN_HOST}:{stack.port}" if plain else stack.url
        self.client = stack.client()
        self.context = browser.new_context(**context)
        self.context.add_cookies(
            [{"name": name, "value": value, "url": self.url} for name, value in self.client.cookies.items()]
        )
        self.troubles: list[str] = []
        self.page = self.tab()

    def tab(self) -> Page:
        """Another tab of the same browser."""
        page = self.context.new_page()
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        return page

    def leave(self, forgive: str = "") -> None:
        """Close the browser; nothing but what contains ``forgive`` may have gone wrong in it."""
        self.context.close()
        self.client.close()
        troubles = [one for one in self.troubles if not forgive or forgive not in one]
        assert not troubles, troubles

    def open(
        self, thread: dict[str, Any], state: dict[str, Any] | str | None = None, view: str = "s"
    ) -> Page:
        """Show a thread, at a state."""
        end = state["id"] if isinstance(state, dict) else state
        self.page.goto(f"{self.url}/t/{thread['id']}" + (f"/{view}/{end}" if end else ""))
        return self.page

    def fake(
        self, thread: dict[str, Any], question: str | None, state: str | None = None, **config: Any
    ) -> dict[str, Any]:
        """Ask the worker ``fake``; the whole answer of the API."""
        return self.client.ask(thread, question, state, worker_id="fake", config=config)

    def answered(
        self, thread: dict[str, Any], question: str | None, state: str | None = None, **config: Any
    ) -> dict[str, Any]:
        """The same, once it has answered."""
        asked = self.fake(thread, question, state, **config)
        for run in asked["runs"]:
            self.client.wait(run)
        return asked

    def configure(self, page: Page, **config: Any) -> None:
        """Have the page ask the worker ``fake`` like this from now on."""
        page.evaluate(
            """config => {
                const none = '{"state": {}, "version": 0}';
                const kept = JSON.parse(localStorage['branchline.preferences'] ?? none);
                kept.state = {...kept.state, workers: ['fake'], workersOf: {},
                    configs: {...kept.state.configs, fake: config}};
                localStorage['branchline.preferences'] = JSON.stringify(kept);
            }""",
            config,
        )
        page.reload()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.troubles.append(message.text)


def turn(page: Page, state: dict[str, Any] | str) -> Locator:
    """What a state says in the chat."""
    return page.locator(f'[data-state="{state["id"] if isinstance(state, dict) else state}"]')


def write(page: Page, text: str) -> None:
    """Send a message."""
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


_HEAR = """box => {
    box.scrolled = new Promise(ended => box.addEventListener('scrollend', () => ended(true), {once: true}));
}"""


def turn_wheel(page: Page, box: Locator, pixels: int) -> None:
    """Turn the wheel over ``box``. Returns once it has scrolled, which takes the browser some frames."""
    box.hover()
    page.evaluate("() => new Promise(frame => requestAnimationFrame(() => requestAnimationFrame(frame)))")
    box.evaluate(_HEAR)
    page.mouse.wheel(0, pixels)
    box.evaluate("box => box.scrolled")


_RUN_AXE = """axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    rules: {region: {enabled: false}},  // menus and tooltips float outside of the landmarks
    resultTypes: ['violations'],
}).then(found => found.violations)"""  # what it found right is a hundred times as much to hand over


def axe(page: Page) -> list[str]:
    """What axe finds wrong with the page as it is."""
    # By the debugger, whom the page's policy does not concern.
    if page.evaluate("typeof axe === 'undefined'"):
        page.evaluate(AXE.read_text())
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:240]}"
        for one in page.evaluate(_RUN_AXE)
        for node in one["nodes"]
    ]


def opened(path: Path) -> None:
    """Let a run in mode ``gate`` go on."""
    path.touch()
