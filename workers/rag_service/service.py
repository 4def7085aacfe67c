"""An agents service, as AGENT_SERVICE_URL names one: ``python service.py [PORT]``. It needs Flask.

Each agent is a function of a prompt and its context, which yields pieces of text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Flask, Response, abort, request
from werkzeug.serving import make_server

Agent = Callable[[str, Mapping[str, Any]], Iterator[str]]


def rag(prompt: str, context: Mapping[str, Any]) -> Iterator[str]:
    """Say what it would look for."""
    yield from (f"I would look for {context.get('match_count', 5)} passages on: ", prompt)


def document(prompt: str, context: Mapping[str, Any]) -> Iterator[str]:
    """Write a heading, and a sentence for each word."""
    yield f"# {prompt}\n"
    yield from (f"\nOn {word}." for word in prompt.split())


def task(prompt: str, context: Mapping[str, Any]) -> Iterator[str]:
    """List what is asked for as tasks."""
    yield from (f"- [ ] {part.strip()}\n" for part in prompt.split(","))


AGENTS: Mapping[str, Agent] = {"rag": rag, "document": document, "task": task}
app = Flask(__name__)


@app.post("/agents/<type>/stream")
def stream(type: str) -> Response:
    """Answer a prompt, piece by piece."""
    agent = AGENTS.get(type) or abort(404)
    asked = request.get_json()
    return Response(events(agent(asked["prompt"], asked["context"])), mimetype="text/event-stream")


def events(pieces: Iterator[str]) -> Iterator[str]:
    """Pieces of text as Server-Sent Events, and the end or what went wrong."""
    try:
        for piece in pieces:
            yield f"data: {json.dumps({'content': piece})}\n\n"
        yield "data: [DONE]\n\n"
    except Exception as error:
        yield f"data: {json.dumps({'error': str(error)})}\n\n"


if __name__ == "__main__":
    server = make_server("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8052, app, threaded=True)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
