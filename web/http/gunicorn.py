"""Everything of gunicorn that its documentation does not promise, in one place.

The version that this was written for is bounded in ``setup.cfg``, and
``tests/contract/test_vendor_gunicorn.py`` says what has changed where a newer one differs.

gunicorn's configuration imports this before the worker has patched itself for gevent,
so nothing but gunicorn is imported here.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import ParseException

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

BODY_ERRORS = (ParseException, OSError)
"""What reading a body raises: it is malformed, or the client has gone away."""

_READ_SIZE = 1 << 16


class ErrorLogger(Logger):  # type: ignore[misc]
    """Logs errors only: requests are counted at /metrics, and writing a line for each is slow."""

    def access(self, *_: object) -> None:
        """Log nothing."""

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log an error, unless it only says that a client has vanished."""
        if not isinstance(sys.exc_info()[1], TimeoutError):
            super().exception(msg, *args, **kwargs)


def replace_error_page(render: Callable[[int, str, str], bytes]) -> None:
    """Answer what is not valid HTTP, and so never reaches the app, with what ``render`` returns.

    ``render`` is given the status, its reason phrase and a detail, and returns the whole
    response. No setting chooses this page: every worker class calls ``util.write_error``.
    """

    def write_error(client: socket.socket, status: int, reason: str, detail: str) -> None:
        util.write_nonblock(client, render(status, reason, detail))

    util.write_error = write_error


def listening_sockets(arbiter: Arbiter) -> Iterator[socket.socket]:
    """The sockets that the server accepts connections on."""
    return (listener.sock for listener in arbiter.LISTENERS)


def socket_of(environ: WSGIEnvironment) -> Any:
    """The socket that a request came by; None under another server."""
    return environ.get("gunicorn.socket")


def response_of(start_response: StartResponse) -> Any:
    """gunicorn's response, where ``start_response`` is gunicorn's own; else None."""
    return getattr(start_response, "__self__", None)


def is_chunked(response: Any) -> bool:
    """Whether ``response``, whose headers have been set, is sent in chunks."""
    return getattr(response, "chunked", False) is True


def close_after(response: Any) -> None:
    """Close the connection once ``response`` has been sent, instead of keeping it for another request."""
    if response is not None:
        response.force_close()


def body_as_it_comes(environ: WSGIEnvironment, body: Any) -> Iterator[bytes]:
    """The pieces of a request's body, each as soon as it is there. Raises ``BODY_ERRORS``.

    ``body`` is read where the body is not sent in chunks. Of one that is, gunicorn
    returns nothing before it has a whole kibibyte, or the end: a worker that sends a
    short line and waits would wait for ever. So chunks are read one level below.
    """
    reader = getattr(environ["wsgi.input"], "reader", None)
    if isinstance(reader, ChunkedReader):
        while first := reader.read(1):
            yield first + reader.read(reader.buf.tell())
    else:
        yield from iter(lambda: body.read(_READ_SIZE), b"")
