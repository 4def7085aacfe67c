"""The package for JavaScript and TypeScript: its own tests, and that it agrees with the Python SDK."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest

from runtime.sdk.adapters import shapes as python_shapes
from runtime.sdk.adapters.rules import Rule
from runtime.sdk.run import Run
from runtime.settings import CHECKOUT
from tests.support.node_sdk import PACKAGE, needs_node, node

pytestmark = needs_node

_CONVERSATIONS = 300
_CONVERT = f"""
import {{ Run }} from "{PACKAGE}/run.js";
import {{ readFileSync }} from "node:fs";
const answers = JSON.parse(readFileSync(0, "utf8")).map(({{ messages, tools, pictures, size, filter }}) => {{
  const run = new Run({{ messages }}, null);
  const options = {{ tools, pictures, system: "Be brief." }};
  return {{
    chat: run.asOpenAI("chat", options),
    responses: run.asOpenAI("responses", options),
    anthropic: run.asAnthropic(options),
    window: run.window(size).map((message) => message.id),
    filtered: run.window(size, filter).map((message) => message.id),
    conversation: run.conversation(),
  }};
}});
console.log(JSON.stringify(answers));
"""
_FILE = {"id": "f1", "name": "a.zip", "type": "application/zip", "size": 7}
_PICTURE = "data:image/png;base64,iVBORw0KGgo="


def test_the_package_passes_its_tests() -> None:
    node("--test", str(CHECKOUT / "tests" / "node_sdk" / "run.test.mjs"))


def test_conversations_are_the_same_for_models_in_both_languages() -> None:
    choice = random.Random(1)
    cases = [conversation(choice) for _ in range(_CONVERSATIONS)]

    converted = json.loads(node("--input-type=module", "--eval", _CONVERT, stdin=json.dumps(cases)))

    for case, found in zip(cases, converted, strict=True):
        assert squeezed(found) == squeezed(convert(**case)), case


def test_the_shapes_of_chunks_are_the_same_in_both_languages() -> None:
    shapes = ("OPENAI_CHAT", "OPENAI_RESPONSES", "ANTHROPIC")
    print_them = f'import * as found from "{PACKAGE}/shapes.js"; console.log(JSON.stringify(found));'

    found = json.loads(node("--input-type=module", "--eval", print_them))

    assert found == {name: [plain(rule) for rule in getattr(python_shapes, name)] for name in shapes}


def plain(rule: Rule) -> dict[str, Any]:
    """A rule as it is written in JavaScript."""

    def condition(wanted: Any) -> Any:
        return "*" if wanted is ... else list(wanted) if isinstance(wanted, tuple) else wanted

    written = {one.name: getattr(rule, one.name) for one in fields(rule)}
    for name in ("when", "where"):
        written[name] = {path: condition(wanted) for path, wanted in written[name].items()}
    return {
        name: dict(v) if isinstance(v, Mapping) else v for name, v in written.items() if v or name == "when"
    }


def test_the_types_fit_a_worker_that_uses_everything_and_what_is_shipped(tmp_path: Path) -> None:
    packages = CHECKOUT / "web" / "ui" / "node_modules"
    if not (packages / ".bin" / "tsc").exists():
        pytest.skip("needs what the browser interface is built with")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "branchline").symlink_to(PACKAGE)
    template = CHECKOUT / "runtime" / "cli" / "worker_templates" / "node_typescript"
    for folder in (CHECKOUT / "tests" / "node_sdk", CHECKOUT / "workers" / "node_agent", template):
        for source in folder.glob("*.ts"):
            shutil.copy(source, tmp_path)
    configuration = json.loads((template / "tsconfig.json").read_text())
    configuration["compilerOptions"] |= {
        "lib": ["es2023", "dom", "dom.asynciterable"],
        "skipLibCheck": True,
        "typeRoots": [str(packages / "@types")],
        "types": ["node"],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(configuration))

    done = subprocess.run(
        [packages / ".bin" / "tsc"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout


_SEARCH = f"""
import {{ execute }} from "{PACKAGE}/testing.js";
const seen = ({{ text, titles, sourceId }}) => [text, titles, sourceId];
const {{ text }} = await execute(async (run) => JSON.stringify([
  (await run.search("déjà & vu", {{ k: 3, source: "my pets" }})).map(seen),
  (await run.search("a")).length,
  (await run.findDocument("pets", "a/b.md")).digest,
  await run.addDocument("pets", "a/b.md", "# é", {{ kind: "html", digest: "d", validator: "v" }}),
  await run.addDocument("pets", "c.md", "c"),
]));
console.log(text);
"""


def test_the_knowledge_base_is_asked_the_same_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    with knowledge_server() as (url, asked):
        monkeypatch.setenv("BRANCHLINE_API_URL", url)
        monkeypatch.setenv("BRANCHLINE_RUN_TOKEN", "t0ken")
        monkeypatch.setenv("BRANCHLINE_RUN_ID", "r1")
        in_javascript = json.loads(node("--input-type=module", "--eval", _SEARCH))
        of_javascript, asked[:] = [*asked], []
        wire: Any = SimpleNamespace(write=None)
        run = Run({}, wire)
        in_python = [
            [[one.text, one.titles, one.source_id] for one in run.search("déjà & vu", 3, "my pets")],
            len(run.search("a")),
            there.digest if (there := run.find_document("pets", "a/b.md")) else None,
            run.add_document("pets", "a/b.md", "# é", kind="html", digest="d", validator="v"),
            run.add_document("pets", "c.md", "c"),
        ]

    assert in_javascript == in_python == [[["Cats purr.", ["Cats"], "s1"]], 1, "abc", False, False]
    assert of_javascript == asked


@contextmanager
def knowledge_server() -> Iterator[tuple[str, list[Any]]]:
    """What answers as the Worker API does, and notes what it was asked."""
    asked: list[Any] = []
    passage = {"text": "Cats purr.", "titles": ["Cats"], "source_id": "s1"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, path, parse_qs(query), body, self.headers["Authorization"]))
            said = {"items": [passage], "document": {"digest": "abc"}, "changed": False}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def conversation(choice: random.Random) -> dict[str, Any]:
    """Messages as a thread may have them, in any order, and what is to be made of them."""
    messages = [{"id": f"m{n}", **message(choice)} for n in range(choice.randrange(12))]
    return {
        "messages": messages,
        "tools": choice.random() < 0.8,
        "pictures": choice.random() < 0.8,
        "size": choice.randrange(8),
        "filter": choice.choice([{"roles": ["user", "assistant"]}, {"types": ["function", "text"]}, {}]),
    }


def message(choice: random.Random) -> dict[str, Any]:
    call_id = choice.choice(["c1", "c2", "not / valid", None])
    identity = {"name": choice.choice(["add", "sub tract"]), **({"call_id": call_id} if call_id else {})}
    text = choice.choice(["Hello", "", "  two words \n", "é ∑"])
    arguments = choice.choice(['{"a": 1}', '{"a":', {"a": [1, None]}, "", "plain", None])
    result: Any = choice.choice([3, "", "text", {"b": True}, None])
    kinds: list[dict[str, Any]] = [
        {"role": choice.choice(["user", "assistant", "system"]), "content": text},
        {"role": "user", "author": choice.choice(["auto", "Ada"]), "content": "Go on."},
        {"role": "assistant", "channel": "reasoning", "content": "Hm."},
        {"role": "assistant", "type": "code", "content": "1 + 2", "data": {"language": "python"}},
        {"role": "tool", "type": "console", "content": text},
        {"role": "user", "type": "image", "content": "A dot", "data": {"url": _PICTURE}},
        {"role": choice.choice(["user", "assistant"]), "content": text, "files": [_FILE]},
        {"role": "user", "type": "image", "content": "Far", "data": {"url": "https://x.example/a.png"}},
        {"role": "assistant", "type": "confirmation", "content": "Sure?", "data": {"answer": "yes"}},
        {"role": "assistant", "type": "function", "data": {**identity, "arguments": arguments}},
        {"role": "assistant", "type": "function", "content": '{"b": 2}', "data": identity},
        {"role": "tool", "type": "function", "data": {**identity, "result": result}},
        {"role": "tool", "type": "function", "data": {**identity, "result": result, "is_error": True}},
    ]
    return choice.choice(kinds)


def convert(
    messages: list[dict[str, Any]], tools: bool, pictures: bool, size: int, filter: dict[str, Any]
) -> dict[str, Any]:
    """The same by the Python SDK."""
    wire: Any = SimpleNamespace(write=None)
    run = Run({"messages": messages}, wire)
    options: dict[str, Any] = {"tools": tools, "pictures": pictures, "system": "Be brief."}
    return {
        "chat": run.as_openai("chat", **options),
        "responses": run.as_openai("responses", **options),
        "anthropic": run.as_anthropic(**options),
        "window": [message.id for message in run.window(size)],
        "filtered": [message.id for message in run.window(size, **filter)],
        "conversation": run.conversation(),
    }


def squeezed(value: Any) -> str:
    """As JSON, also within texts, where the two languages leave other spaces."""
    return json.dumps(value, sort_keys=True).replace(": ", ":").replace(", ", ",")
