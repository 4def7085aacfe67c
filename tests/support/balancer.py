"""A balancer in front of several web processes, as simple as they come."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading


class Balancer:
    """Gives each connection to the next server that accepts it."""

    def __init__(self, *ports: int) -> None:
        self._turns = itertools.cycle(ports)
        self._count = len(ports)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            for port in itertools.islice(self._turns, self._count):
                try:
                    server = socket.create_connection(("127.0.0.1", port))
                except ConnectionError:
                    continue
                with server:
                    there = threading.Thread(target=_carry, args=(client, server), daemon=True)
                    there.start()
                    _carry(server, client)
                    there.join()
                return


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Until one of the ends is closed; then close both directions."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
