"""Everything of gunicorn that its documentation does not promise, in one place.

The version that this was written for is bounded in ``setup.cfg``, and
``tests/contract/test_vendor_gunicorn.py`` says what has changed where a newer one differs.

gunicorn's configuration imports this before the worker has patched itself for gevent,
so of ours only what needs nothing else is imported here.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from gevent.server import StreamServer
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.http import RequestParser
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import LimitRequestHeaders, NoMoreData, ParseException
from gunicorn.workers import ggevent
from gunicorn.workers.ggevent import GeventWorker

from runtime.system import collector, greenlets
from web.http.clients import REST, Client, Clients, HeadTooLarge, TooSlow

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


class Server(StreamServer):
    """Accepts connections, and at the end those that the kernel has accepted already.

    It resets them when the socket is closed, and a proxy repeats no POST that it has sent.
    """

    def close(self) -> None:
        """Stop accepting connections."""
        with suppress(OSError):
            while "socket" in self.__dict__ and not self.full() and (accepted := self.do_read()):
                self.do_handle(*accepted)
        super().close()


class Worker(GeventWorker):  # type: ignore[misc]
    """gunicorn's gevent worker, which waits for no client longer than it may.

    gunicorn has one bound, ``keepalive``, for the wait for a whole head, and none for a body.
    """

    clients: ClassVar[Clients]
    """Set by the configuration; each process has its own from its fork on."""

    def patch(self) -> None:
        """Have gevent patch the standard library."""
        with greenlets.plugins_read_once():
            super().patch()

    def load_wsgi(self) -> None:
        """Import the app."""
        with collector.paused():
            super().load_wsgi()

    def handle(self, listener: socket.socket, connection: socket.socket, address: Any) -> None:
        """Serve the requests of one connection. In place of gunicorn's ``AsyncWorker.handle``."""
        connection.setblocking(True)
        client = Client(connection, address, self.clients)
        parser = RequestParser(self.cfg, client, address)
        request = None
        try:
            name = listener.getsockname()
            while True:
                request = None
                request = next(parser)
                client.expect_body()
                again = self._answer(name, request, connection, address)
                client.expect_rest()
                if not (_drop_rest(parser) and again):
                    break
                client.expect_next()
        except (StopIteration, NoMoreData):
            pass  # the client has gone
        except TooSlow:
            if client.began:
                util.write_error(connection, 408, "Request Timeout", "The request did not arrive in time.")
        except HeadTooLarge:
            self.handle_error(request, connection, address, LimitRequestHeaders("max buffer headers"))
        except OSError as error:
            if error.errno not in _GONE:
                self.log.exception("Socket error processing request.")
        except Exception as error:
            self.handle_error(request, connection, address, error)
        finally:
            client.close()
            util.close(connection)

    def _answer(self, name: Any, request: Any, connection: socket.socket, address: Any) -> bool:
        """Have the app answer a request; whether the connection may have another."""
        try:
            self.handle_request(name, request, connection, address)
        except StopIteration:
            return False
        return True


def serve_to_the_last() -> None:
    """Have gunicorn's worker use :class:`Server`, which it has no setting for."""
    ggevent.StreamServer = Server


_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF)


def _drop_rest(parser: RequestParser) -> bool:
    """Take what the app has not read of a body off the connection; whether that was all of it."""
    body, dropped = parser.mesg.body, 0
    try:
        while piece := body.read(_READ_SIZE):
            dropped += len(piece)
            if dropped > REST:
                return False
    except BODY_ERRORS:
        return False
    return True


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


def expect_endless_body(environ: WSGIEnvironment) -> None:
    """Let the client of this request send its body for as long as it likes."""
    reader = getattr(environ["wsgi.input"], "reader", None)
    unreader = reader.req.unreader if isinstance(reader, ChunkedReader) else getattr(reader, "unreader", None)
    client = getattr(unreader, "sock", None)
    if isinstance(client, Client):
        client.expect_endless_body()


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
