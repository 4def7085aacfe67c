"""A TCP connection to a server that can be cut, silenced and joined again."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading


class Cable:
    """Forwards a port of this machine to a server's, for as long as it is joined."""

    def __init__(self, host: str, port: int, begin: str = "127.0.0.1") -> None:
        """``host`` and ``port`` of the server; ``begin``: the address of this machine where it begins."""
        self._server = (host, port)
        self._ends: set[socket.socket] = set()
        self._joined = True
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener = socket.create_server((begin, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset every connection, and new ones as soon as they are made."""
        self._joined = False
        self._reset_all()

    def silence(self) -> None:
        """Keep every connection and accept new ones, but let nothing through."""
        self._flowing.clear()

    def join(self) -> None:
        """Forward again, after a disturbance on new connections only."""
        if not self._joined or not self._flowing.is_set():
            self._reset_all()
        self._joined = True
        self._flowing.set()

    def close(self) -> None:
        """Cut it for good."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._flowing.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._ends.add(client)
            try:
                server = socket.create_connection(self._server, timeout=5)
            except OSError:
                self._reset(client)
                continue
            server.settimeout(None)
            self._ends.add(server)
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()
            if not self._joined:
                self._reset(client)
                self._reset(server)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                target.sendall(data)
        self._reset(source)
        self._reset(target)

    def _reset_all(self) -> None:
        for end in list(self._ends):
            self._reset(end)

    def _reset(self, end: socket.socket) -> None:
        """Close one end so that its peer notices at once, and whoever reads from it here too."""
        self._ends.discard(end)
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.shutdown(socket.SHUT_RDWR)
        end.close()
