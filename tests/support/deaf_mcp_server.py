"""An MCP server over HTTP, of the older protocol, that never answers when it is told of a session's end."""

from __future__ import annotations

import json
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PATIENCE = 20.0
"""Seconds after which it answers in the end, so that a client that would wait for ever fails its test."""
_SERVER = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "deaf", "version": "1"},
}
_RESULTS: dict[str, dict[str, Any]] = {"initialize": _SERVER, "tools/list": {"tools": []}}


class DeafServer:
    """The server."""

    def __init__(self) -> None:
        self.left = 0
        """How many clients have closed the connection by which they had told it of an end."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/mcp"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(deaf: DeafServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if "id" not in asked:
                return self._answer(202)
            result = _RESULTS.get(asked["method"])
            failed = {"code": -32601, "message": "There is no such method."}
            outcome = {"error": failed} if result is None else {"result": result}
            self._answer(200, json.dumps({"jsonrpc": "2.0", "id": asked["id"], **outcome}).encode())

        def do_GET(self) -> None:
            self._answer(405)

        def do_DELETE(self) -> None:
            self.close_connection = True
            if select.select([self.connection], [], [], _PATIENCE)[0]:
                deaf.left += not self.connection.recv(1, socket.MSG_PEEK)
            else:
                self._answer(200)

        def _answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Mcp-Session-Id", "one")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    return Handler
