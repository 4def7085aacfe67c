"""What lists the message types lists all of them, and the page that adds one is right."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.model import MessageType
from runtime.sdk.protocol.message_types import DATA
from runtime.settings import CHECKOUT

PAGE = CHECKOUT / "docs/how-to/add-a-message-type.md"
VIEW = "web/ui/app/src/messages/MessageView.tsx"
TYPINGS = "runtime/node_sdk/index.d.ts"
PROTOCOL = "docs/reference/protocol.md"
USE = """
import orjson
from marshmallow import ValidationError
from runtime.child.protocol import Decoder
from runtime.model import Message, MessageType
from runtime.sdk.testing import execute
from web.api.message_data import describe
from web.api.schemas.inputs import MessageInput

{worker}

[chart] = execute(run, "How many?").messages
assert (chart.type, chart.data) == ("chart", {{"values": [3, 1, 2]}}), chart

def said(data):
    return Decoder().feed(orjson.dumps({{"type": "message", "message_type": "chart", "data": data}}) + b"\\n")

[fits], [refused] = said({{"values": [1]}}), said({{"values": ["much"]}})
assert fits.type is MessageType.CHART, fits
assert '"data.values" of a message of type chart must be a list of numbers' in refused.text, refused
message = {{"role": "user", "content": "", "type": "chart"}}
assert MessageInput().load({{**message, "data": {{"values": [1]}}}}).type is MessageType.CHART
try:
    MessageInput().load({{**message, "data": {{"values": 1}}}})
except ValidationError as error:
    assert error.messages["data"]["values"] == ["must be a list of numbers"], error
else:
    raise AssertionError("other data passes")

schemas = {{"MessageInput": {{}}}}
describe({{"components": {{"schemas": schemas}}}})
assert "values" in schemas["ChartData"]["properties"]
"""


def renderers(checkout: Path) -> list[str]:
    table = re.search(r"const RENDERERS.*?\{\n(.*?)\n\};", (checkout / VIEW).read_text(), re.DOTALL)
    assert table is not None
    return re.findall(r"^  (\w+): \w+,$", table[1], re.MULTILINE)


def typings(checkout: Path) -> list[str]:
    line = re.search(r"^export type MessageType = (.+);$", (checkout / TYPINGS).read_text(), re.MULTILINE)
    assert line is not None
    return re.findall(r'"(\w+)"', line[1])


def rows(checkout: Path) -> dict[str, list[str]]:
    """The types on the page of the protocol, each with the names in its data."""
    section = (checkout / PROTOCOL).read_text().split("### Message types\n")[1].split("\n\n")[0]
    found = re.findall(r"^\| `(\w+)` \|.*\|(.*)\|$", section, re.MULTILINE)
    return {type: re.findall(r"`(\w+)`", names) for type, names in found}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_every_type_has_a_renderer_a_typing_and_a_row() -> None:
    assert renderers(CHECKOUT) == [*MessageType]
    assert typings(CHECKOUT) == [*MessageType]
    assert rows(CHECKOUT) == {type: [*schema["properties"]] for type, schema in DATA.items()}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The source, as far as a new type needs it."""
    unneeded = shutil.ignore_patterns("node_modules", "static", "ui", "testing")
    for folder in ("config", "runtime", "web"):
        shutil.copytree(CHECKOUT / folder, tmp_path / folder, ignore=unneeded)
    shutil.copytree(CHECKOUT / "runtime/sdk/testing", tmp_path / "runtime/sdk/testing")
    for file in (VIEW, PROTOCOL):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / file, tmp_path / file)
    return tmp_path


def test_the_page_adds_a_type_that_can_be_used(copy: Path) -> None:
    for change in blocks("diff"):
        command = ["patch", "--strip=1", "--forward", "--no-backup-if-mismatch", "--silent"]
        subprocess.run(command, input=change, text=True, cwd=copy, check=True)
    [component] = blocks("tsx")
    assert "export function Chart(" in component
    assert renderers(copy) == typings(copy) == [*rows(copy)] == [*MessageType, "chart"]

    [worker] = blocks("python")
    program = USE.format(worker=worker)
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    subprocess.run([sys.executable, "-c", program], cwd=copy, env=environment, check=True)
