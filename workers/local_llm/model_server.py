"""The server of the model: ``python model_server.py``, which answers until its stdin ends.

It prints one line of JSON: ``url`` and ``key`` once the model is loaded, or ``error``. Should it be killed,
as by a machine that is short of memory, the next one answers at the same place. Where that cannot be started,
stderr says why, and in the end each run is told that there is no model.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import model_file

_ANSWERS = 4
"""How many are written at once; others wait."""
_CONTEXT = 8192
_PAUSE = 5.0
"""Seconds before a server that was killed is started anew; twice as many after each start that fails."""
_LONGEST_PAUSE = 60.0
_MOST_FAILURES = 8
"""After so many starts in a row that have failed there is no further one."""
_GONE = "The model could not be loaded again; the pool's log says why. Restart the pool to try it anew."


def main() -> None:
    """Start a server, and another one whenever that is killed."""
    key = secrets.token_urlsafe()
    said, pid = _start(key, 0)
    if said:
        print(json.dumps({**said, "key": key}), flush=True)
    port, failures = urlsplit(said.get("url", "")).port, 0
    while port and (end := _wait(pid)):
        failures = 0 if "url" in said else failures + 1
        reason = said.get("error", end)
        if failures == _MOST_FAILURES:
            _tell(f"{reason}. That was the last of {failures} starts in a row that have failed.")
            return _refuse(port)
        pause = min(_PAUSE * 2**failures, _LONGEST_PAUSE)
        _tell(f"{reason}. It is started anew in {pause:g} s.")
        if select.select([sys.stdin], [], [], pause)[0]:
            return
        said, pid = _start(key, port)


def _start(key: str, port: int) -> tuple[dict[str, str], int]:
    """Start one: what it says once it has loaded its model, or cannot, and its pid."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _serve(key, port, writer)
    os.close(writer)
    with open(reader, "rb") as pipe:
        return json.loads(pipe.readline() or b"{}"), pid


def _wait(pid: int) -> str:
    """Wait for the end of a server, and say how it has ended; "" where its stdin has."""
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"it was killed by {signal.Signals(-code).name}"
    return f"exit code {code}" if code else ""


def _tell(what: str) -> None:
    """Write into the pool's log."""
    print(f"The model's server has ended: {what}", file=sys.stderr, flush=True)


def _refuse(port: int) -> None:
    """Answer runs that there is no model, until stdin ends; another pool process may have one."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Refusal)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


class _Refusal(BaseHTTPRequestHandler):
    """Answers as a server of models that has a problem."""

    def do_POST(self) -> None:
        """Say that there is no model."""
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"error": {"message": _GONE}}).encode()
        self.send_response(HTTPStatus.SERVICE_UNAVAILABLE)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Runs say it themselves."""


def _serve(key: str, port: int, writer: int) -> None:
    """Be the server: say where it is, and answer until stdin ends."""
    status = 1
    try:
        server = _load(key, port)
        os.write(writer, json.dumps({"url": f"{server.listening_address}/v1"}).encode() + b"\n")
        sys.stdin.read()
        status = 0
    except Exception as error:
        os.write(writer, json.dumps({"error": str(error)}).encode() + b"\n")
    finally:
        os._exit(status)  # not by way of the library, which waits for answers that are under way


def _load(key: str, port: int) -> Any:
    """The server, with the model in memory."""
    import xllamacpp

    name = os.environ["LOCAL_LLM_MODEL"]
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        parameters = _parameters(xllamacpp, model_file.find(name, Path(folder)))
        parameters.model_alias = {model_file.title(name)}
        parameters.api_keys, parameters.port = [key], port
        return xllamacpp.Server(parameters)  # which keeps the file, also once its name is gone


def _parameters(xllamacpp: Any, model: Path) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx = _number("LOCAL_LLM_CONTEXT") or _CONTEXT
    parameters.n_parallel, parameters.kv_unified = _ANSWERS, True
    parameters.verbosity = 1  # errors, which are in the pool's log
    parameters.ui = False
    if threads := _number("LOCAL_LLM_THREADS"):
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    if template := os.environ.get("LOCAL_LLM_CHAT_TEMPLATE"):
        _use_template(parameters, template)
    return parameters


def _use_template(parameters: Any, template: str) -> None:
    """One of llama.cpp's own by its name, or a file in Jinja."""
    parameters.use_jinja = "/" in template
    parameters.chat_template = Path(template).read_text("utf-8") if parameters.use_jinja else template


def _number(name: str) -> int:
    """That of a variable; 0 where it is not set."""
    text = os.environ.get(name) or "0"
    if not text.isdecimal():
        raise ValueError(f"{name} is {text!r}, which is no number")
    return int(text)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
