"""The browser of these tests takes the network as it is, whatever other tests do to it meanwhile."""

from __future__ import annotations

from pathlib import Path

from tests.support.browser import Visitor, opened
from tests.support.namespace import Namespace, existing

CONNECTIONS = 6
"""That a browser makes to a server over HTTP/1.1; other requests wait for one."""
ASK = """([path, times]) => {
    const ask = () => fetch(path).then((answer) => answer.status, (error) => error.message);
    window.asked = Promise.all(Array.from({ length: times }, ask));
}"""


def test_a_line_that_is_laid_to_another_machine_ends_no_request(visitor: Visitor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = visitor.fake(visitor.client.thread(), "Wait", mode="gate", path=str(gate))["runs"][0]
    page = visitor.page
    page.goto(visitor.url)
    page.evaluate(ASK, [f"/api/runs/{run['id']}/wait?timeout=60", 2 * CONNECTIONS])

    with existing(Namespace("line")):
        opened(gate)
        assert page.evaluate("asked") == [200] * 2 * CONNECTIONS
