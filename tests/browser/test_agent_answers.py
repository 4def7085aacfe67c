"""What answers of agents have in their data: sources, which open at the passage, and the tasks of a plan."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.support.browser import Visitor, axe

LEASES = "# Leases\n\nA claim.\n\n## Renewal\n\nIt is renewed each second.\n\n## End\n\nIt ends by itself.\n"


def shown(visitor: Visitor, content: str, data: dict[str, Any]) -> Page:
    """A thread with this answer."""
    thread = visitor.client.thread()
    said = {"role": "assistant", "content": content, "data": data}
    body = {"parent_id": thread["root_state_id"], "messages": [said]}
    made = visitor.client.post(f"/api/threads/{thread['id']}/states", json=body).raise_for_status()
    return visitor.open(thread, made.json()["state"])


def test_a_citation_opens_the_document_at_its_passage(visitor: Visitor) -> None:
    client = visitor.client
    made = client.post("/api/knowledge/sources", json={"name": "docs"}).json()["source"]
    path = f"/api/knowledge/sources/{made['id']}/documents"
    client.post(path, files={"file": ("leases.md", LEASES.encode())}).raise_for_status()
    found = client.get("/api/knowledge/search", params={"q": "renewed second"}).json()["items"][0]
    sources = [{**found, "number": 1}, {"number": 2, "document": "gone.md", "text": "It was so."}]

    page = shown(visitor, "Each second [1], or `so[1]` [2].", {"sources": sources})
    listed = page.get_by_role("list", name="Sources").get_by_role("button")
    expect(listed).to_have_text(["1leases.md › Leases › Renewal", "2gone.md"])
    assert axe(page) == []
    page.get_by_role("link", name="[1]").click()
    dialog = page.get_by_role("dialog", name="leases.md")
    expect(dialog.get_by_role("region", name="The cited passage")).to_have_text("It is renewed each second.")
    expect(dialog.get_by_text("It ends by itself.")).to_be_visible()
    assert axe(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    listed.nth(1).click()
    gone = page.get_by_role("dialog", name="gone.md")
    expect(gone.get_by_role("region", name="The cited passage")).to_have_text("It was so.")
    expect(gone.get_by_text("The document has changed since")).to_be_visible()


def task(id: str, title: str, *after: str) -> dict[str, Any]:
    about = f"{title}, as it has to be."
    return {"id": id, "title": title, "description": about, "estimate_hours": 2.5, "depends_on": after}


def test_a_plan_is_a_list_and_a_picture_of_what_depends_on_what(visitor: Visitor) -> None:
    tasks = [
        task("T1", "Tables"),
        task("T2", "Writing"),
        task("T3", "Reading", "T1"),
        task("T4", "A page with a title that is longer than its box", "T1", "T2"),
        task("T5", "All of it", "T3", "T4"),
    ]
    data = {
        "tasks": tasks,
        "total_hours": 12.5,
        "longest_chain": ["T1", "T3", "T5"],
        "longest_chain_hours": 7.5,
    }
    page = shown(visitor, "- **T1 Tables**", data)

    listed = page.get_by_role("list", name="Tasks").get_by_role("listitem")
    expect(listed).to_have_count(5)
    expect(listed.nth(4)).to_have_text("T5All of it2.5 hAll of it, as it has to be.After T3, T4")
    expect(page.get_by_text("12.5 h in all; 7.5 h one after the other: T1 → T3 → T5")).to_be_visible()
    graph = page.get_by_role("group", name="What depends on what")
    expect(graph.locator(".plan-node")).to_have_count(5)
    expect(graph.locator("path.plan-edge")).to_have_count(5)
    above, below = graph.get_by_text("Tables").bounding_box(), graph.get_by_text("All of it").bounding_box()
    assert above and below and above["y"] < below["y"]
    assert axe(page) == []
