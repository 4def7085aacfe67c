"""A server that is killed in the middle of its answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def answering(*sent: bytes) -> Iterator[str]:
    """A server that sends these bytes, one after the other, and closes each connection; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer, args=(listener, sent), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _answer(listener: socket.socket, answers: Sequence[bytes]) -> None:
    for sent in answers:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(sent)
