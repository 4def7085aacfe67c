"""What tests of the knowledge base put into it, and how they search it."""

from __future__ import annotations

from typing import Any

from werkzeug.test import TestResponse

from tests.support.web import Client

CATS = """# Cats

They sleep. They purr when they are content.

## Food

A cat eats mice, and drinks water. Milk is not good for it.

## Café society

Crème brûlée is for people.
"""
DOGS = "# Dogs\n\nThey bark at the postman.\n"


def source(client: Client, name: str = "animals", **more: str) -> str:
    answer = client.post("/api/knowledge/sources", json={"name": name, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json["source"]["id"])


def add(client: Client, source_id: str, file: str, text: str | bytes, **query: str) -> TestResponse:
    content = text.encode() if isinstance(text, str) else text
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{file}"\r\n\r\n'
    return client.post(
        f"/api/knowledge/sources/{source_id}/documents",
        data=head.encode() + content + b"\r\n--x--\r\n",
        content_type="multipart/form-data; boundary=x",
        query_string=query,
    )


def found(client: Client, q: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/api/knowledge/search", query_string={"q": q, **query})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json["items"]
    return items
