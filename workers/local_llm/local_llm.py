"""A model on this machine: one server of llama.cpp for all runs of a pool process."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

try:
    import openai
except ImportError as error:
    raise ImportError(
        "the library openai is not installed where the pool runs; "
        "install it there: pip install 'branchline[workers]'"
    ) from error
if find_spec("xllamacpp") is None:
    raise ImportError(
        "the library xllamacpp is not installed where the pool runs; install it there: pip install xllamacpp"
    )

import model_file

from runtime.sdk import Failure, Run, worker
from runtime.sdk.chat_answers import ChatAnswer
from runtime.sdk.model_errors import failure_of

_SERVER = "The model's server"
_PROGRAM = os.path.join(os.path.dirname(__file__), "model_server.py")

model_file.check(os.environ["LOCAL_LLM_MODEL"])  # else the worker is not available, and says so
_client = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="none")
"""Of the server that ``start`` starts."""


@worker.startup
def start() -> None:
    """Start the server, and wait until its model answers."""
    global _client
    server = subprocess.Popen([sys.executable, _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.communicate)  # which ends its stdin, and so itself
    assert server.stdout is not None
    said = json.loads(server.stdout.readline() or b'{"error": "the process has ended"}')
    if "error" in said:
        raise RuntimeError(f"llama.cpp does not take the model: {said['error']}")
    options = {"base_url": said["url"], "api_key": said["key"]}
    with openai.OpenAI(**options) as client:  # closed, for its connection is none that runs may share
        _prove(client)
    _client = openai.OpenAI(**options, max_retries=0)


def _prove(client: openai.OpenAI) -> None:
    """Raises RuntimeError where the model cannot answer, as where nobody knows its template."""
    hello: Any = [{"role": "user", "content": "Hello"}]
    try:
        client.chat.completions.create(model="local", messages=hello, max_tokens=1)
    except openai.APIError as error:
        raise RuntimeError(
            f"the model does not answer: {error.message} (is LOCAL_LLM_CHAT_TEMPLATE right?)"
        ) from error


@worker
def answer(run: Run) -> Iterator[str]:
    """Stream the model's answer; its reasoning is a message of its own."""
    config = run.config
    messages = run.as_openai(system=config.get("system_prompt"), tools=False, pictures=False)
    if all(message["role"] == "system" for message in messages):
        raise Failure("There is no message to answer.")
    options = {name: config[name] for name in ("temperature", "max_tokens") if name in config}
    try:
        with _client.chat.completions.create(
            model="local", messages=messages, stream=True, stream_options={"include_usage": True}, **options
        ) as stream:
            said = ChatAnswer(run, stream, _SERVER)
            yield from said.pieces()
            run.usage(**said.usage)
    except Failure:
        raise
    except Exception as error:
        raise failure_of(error, server=_SERVER) or error from error
