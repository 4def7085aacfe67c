"""One run on this machine: what its worker says goes to the server, and what it is told to the worker.

The worker's lines are numbered, and sent again until the server has them. What it asks for is asked
over HTTP, and the answer written to its input. A machine that was out of contact for four fifths of
a lease kills its worker: soon after that another one may have the run.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ..protocol import MAX_LINE, Answer, ProtocolError, decode
from .api import Api, Intercepted, Refused, Unreachable
from .worker import Lost

if TYPE_CHECKING:
    from .connections import Connections
    from .worker import Start, Worker

_Answer = TypeVar("_Answer")

_PART = 0.8
"""The part of a lease after which the worker is killed."""
_GRACE = 5.0
"""Seconds that a worker has to end once it is told to."""
_RETRY = 0.2
_FORBIDDEN = 403
_BATCH, _BATCH_BYTES = 500, 1 << 16
"""Lines of a request at most, and bytes after which it has no more."""
_SLOWEST = 1 << 14
"""Bytes a second that a line to the server carries at least; a large line of a worker has so much time."""
_BUFFERED = 1 << 20
"""Bytes of a worker's output that wait to be sent before no more is read."""
_ASKED = {"save", "inbox", "call", "follow"}
"""What is not sent with the other lines, but asked for by a request."""
_ENDS = {"done", "error", "confirm", "discard"}
_OWN = {"alive", "exit"}
"""What the machine says, and no worker."""
_ASK_TIMEOUT = 30.0
_CALL_WAIT = 20.0


class Execution:
    """Carries one run."""

    def __init__(self, server: Connections, claim: Mapping[str, Any], start: Start) -> None:
        """``claim``: what the server has answered."""
        self._api = Api(server, f"/worker/runs/{claim['run_id']}", claim["token"])
        self._server = server.url
        self._claim = claim
        self._start = start
        self._lease = float(claim["lease"])
        self._contact = time.monotonic()
        """When the last request was sent that the server has answered."""
        self._over = threading.Event()
        """Whether nothing more of it is accepted."""
        self._number = 1
        """Of the next line."""
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._changed = threading.Condition()
        self._output_ended = False
        self._called: dict[str, str] = {}
        """The runs that it has called, by the id of the call."""
        self._looks = 1
        """Number of the next look into the inbox."""
        self._worker: Worker | None = None
        self._handed_back = False
        self._time_is_over = False
        self._is_too_large = False
        """Whether the worker was ended because a line of it was."""

    def run(self) -> None:
        """Execute the run. Returns once its worker has ended."""
        if self._over.is_set():
            return
        first = json.loads(self._claim["line"])
        line = json.dumps(first).encode() if self._locate_files(first) else self._claim["line"].encode()
        environ = {
            "BRANCHLINE_RUN_ID": self._claim["run_id"],
            "BRANCHLINE_API_URL": self._server,
            "BRANCHLINE_RUN_TOKEN": self._claim["token"],
        }
        worker_id = first["run"]["worker_id"]
        until = time.monotonic() + first["run"]["timeout_seconds"]
        try:
            self._worker = self._start(worker_id, environ, line)
        except LookupError:
            return self._fail(f"The machine that was given the run has no worker {worker_id!r}.")
        except Lost as reason:
            return self._exit("lost", str(reason))
        except OSError as error:
            return self._fail(f"The worker could not be started: {error}", retryable=False)
        threads = [
            threading.Thread(target=target, args=(self._worker, *more), daemon=True)
            for target, *more in ((self._read,), (self._read_log,), (self._watch, until), (self._listen,))
        ]
        for thread in threads:
            thread.start()
        try:
            self._send_on(self._worker)
        finally:
            self._over.set()
            self._worker.stop(0)
            threads[0].join(_GRACE)
            threads[1].join(_GRACE)
            self._worker.close()

    def hand_back(self) -> None:
        """Let another machine execute the run, and end the worker here."""
        self._handed_back = True
        try:
            self._post([b'{"type":"discard"}'], numbered=False)
        except (Unreachable, Refused):
            pass  # it is noticed when the lease ends
        self._end()

    # ── the worker's output ─────────────────────────────────────────────────

    def _read(self, worker: Worker) -> None:
        rest = bytearray()
        try:
            while chunk := worker.read():
                rest += chunk
                end = rest.rfind(b"\n", len(rest) - len(chunk)) + 1
                self._put([_as_event(line) for line in bytes(rest[:end]).split(b"\n") if line.strip()])
                del rest[:end]
                if len(rest) > MAX_LINE:
                    self._is_too_large = True
                    rest.clear()
                    worker.stop(0)
        except OSError:
            pass
        if rest.strip():
            self._put([_as_event(bytes(rest))])
        with self._changed:
            self._output_ended = True
            self._changed.notify_all()

    def _read_log(self, worker: Worker) -> None:
        try:
            while chunk := worker.read_log():
                self._put([_log_line(chunk.decode("utf-8", "replace"))])
        except OSError:
            pass

    def _put(self, lines: list[bytes]) -> None:
        with self._changed:
            while self._size > _BUFFERED and not self._over.is_set():
                self._changed.wait(1.0)
            self._lines.extend(lines)
            self._size += sum(map(len, lines))
            self._changed.notify_all()

    def _take(self) -> list[bytes] | None:
        """Lines to send: those up to the next that asks, or that one alone. None at the end."""
        with self._changed:
            while not self._lines and not self._over.is_set():
                if self._output_ended:
                    return None
                self._changed.wait(1.0)
            taken: list[bytes] = []
            size = 0
            while self._lines and len(taken) < _BATCH and size < _BATCH_BYTES and not self._over.is_set():
                if _type_of(self._lines[0]) in _ASKED and taken:
                    break
                taken.append(self._lines.popleft())
                size += len(taken[-1])
                if _type_of(taken[-1]) in _ASKED:
                    break
            self._size -= size
            self._changed.notify_all()
            return taken or None

    def _send_on(self, worker: Worker) -> None:
        """Send what the worker says until its end, which is said if it does not say so itself."""
        has_ended = False
        while (lines := self._take()) is not None and not self._handed_back:
            if _type_of(lines[0]) in _ASKED:
                self._ask(worker, json.loads(lines[0]))
            else:
                has_ended = has_ended or any(map(_ends_run, lines))
                self._send(lines)
        if has_ended or self._over.is_set() or self._handed_back:
            return
        ended = worker.exit(_GRACE)
        if self._is_too_large:
            self._exit("output_too_large", f"The worker wrote a line of more than {MAX_LINE} bytes.")
        elif self._time_is_over:
            self._exit("timeout", "The time of the run is over.")
        elif ended is None:
            self._send([b'{"type":"done"}'])
        else:
            self._exit("lost" if ended.lost else "worker_crashed", ended.message)

    def _exit(self, code: str, message: str) -> None:
        self._send([json.dumps({"type": "exit", "code": code, "message": message}).encode()])

    def _fail(self, message: str, retryable: bool = True) -> None:
        line = {"type": "error", "message": message, "retryable": retryable}
        self._send([json.dumps(line).encode()])

    def _send(self, lines: list[bytes]) -> None:
        """Send lines, again and again until the server has them, or the run is over."""
        try:
            self._until_answered(lambda: self._post(lines))
        except Refused as refused:
            self._refused(refused)

    def _post(self, lines: list[bytes], *, numbered: bool = True) -> None:
        """Send lines once. Those that are not ``numbered`` may arrive twice, where no answer to them did.

        What is sent again under its number is skipped if it had arrived. So whoever may give up numbered
        lines would have the next ones taken for them: one thread sends them all.
        """
        sent = time.monotonic()
        path = f"/events?first={self._number}" if numbered else "/events"
        self._api.post_lines(path, lines, self._timeout + sum(map(len, lines)) / _SLOWEST)
        if numbered:
            self._number += len(lines)
        self._contact = max(self._contact, sent)

    def _until_answered(self, ask: Callable[[], _Answer]) -> _Answer | None:
        """Ask, again and again, until the server has answered; None once the run is over. Raises Refused.

        So it does where something in between, such as a firewall that reads along, has answered this
        request for a whole lease, while it has let others through: it never will.
        """
        since: float | None = None
        while not self._over.is_set():
            try:
                return ask()
            except Intercepted as error:
                since = time.monotonic() if since is None else since
                if self._contact > since + self._lease:
                    raise Refused(_FORBIDDEN, str(error)) from error
            except Unreachable:
                since = None
            self._over.wait(_RETRY)
        return None

    @property
    def _timeout(self) -> float:
        return max(1.0, self._lease * 0.4)

    # ── what it asks for ────────────────────────────────────────────────────

    def _ask(self, worker: Worker, line: dict[str, Any]) -> None:
        if line["type"] == "follow":
            if isinstance(line.get("id"), str) and line["id"] in self._called:
                self._in_thread(self._follow, worker, line["id"])
            return
        if line["type"] == "inbox":
            line["number"] = self._looks
        try:
            answer = self._until_answered(lambda: self._api.post("/requests", line, _ASK_TIMEOUT))
        except Refused as refused:
            if refused.status == 401:
                return self._end()
            key = {name: line[name] for name in ("key", "id") if name in line}
            answer = {"type": "refused", "of": line["type"], **key, "message": str(refused)}
        if answer is None:
            return
        self._looks = answer.pop("next", self._looks)
        self._locate_files(answer)
        worker.send(json.dumps(answer).encode())
        if answer["type"] == "called":
            self._called[answer["id"]] = answer["run_id"]
            self._in_thread(self._tell_of_end, worker, answer)

    def _follow(self, worker: Worker, call_id: str) -> None:
        """Send the worker the text of a sub-run as it comes. What is missed of it, its end makes up for."""
        answer = Answer()
        with suppress(Unreachable, Refused):
            for type, fields in self._api.events(f"/calls/{self._called[call_id]}/events"):
                if self._over.is_set() or type == "reset" or answer.is_void(type, fields):
                    return
                if text := answer.add(type, fields):
                    worker.send(json.dumps({"type": "delta", "id": call_id, "text": text}).encode())

    def _tell_of_end(self, worker: Worker, called: dict[str, Any]) -> None:
        """Tell the worker what becomes of a sub-run: that it has a question, or its end."""
        path = f"/calls/{called['run_id']}?timeout={_CALL_WAIT:g}"
        while not self._over.is_set():
            try:
                news = self._api.get(path, _CALL_WAIT + self._timeout)
            except Unreachable:
                self._over.wait(_RETRY)
                continue
            except Refused:
                return self._end()
            if news["type"] != "called":
                self._locate_files(news)
                for told in (*news.pop("questions", ()), news):
                    worker.send(json.dumps(told).encode())
                return None

    def _locate_files(self, line: dict[str, Any]) -> bool:
        """Say of each file that messages of a line to the worker name where it is read from this machine.

        Returns whether there are any.
        """
        lists = (line.get("messages"), line.get("earlier"), line.get("open"), [line.get("message")])
        files = [
            file
            for messages in lists
            for message in messages or ()
            if isinstance(message, dict)
            for file in message.get("files") or ()
        ]
        for file in files:
            file["url"] = f"{self._api.url}/files/{file['id']}"
        return bool(files)

    # ── contact ─────────────────────────────────────────────────────────────

    def _watch(self, worker: Worker, until: float) -> None:
        """Give signs of life, and kill the worker once there was no contact for too long.

        At ``until`` the time of the run is over, and the worker is told so before it is stopped. The pool
        does not wait long for its last words.
        """
        self._in_thread(self._beat)
        while not self._over.wait(0.1):
            if time.monotonic() > until and not self._time_is_over:
                self._time_is_over = True
                worker.show_stack()
                worker.send(b'{"type":"timeout"}')
                self._in_thread(worker.stop, _GRACE)
            if time.monotonic() - self._contact > _PART * self._lease:
                self._end()

    def _beat(self) -> None:
        while not self._over.wait(self._lease / 8):
            if time.monotonic() - self._contact > self._lease / 4:
                try:
                    self._post([b'{"type":"alive"}'], numbered=False)
                except Unreachable:
                    pass
                except Refused:
                    self._end()

    def _listen(self, worker: Worker) -> None:
        """Hear that the run is to end, or has ended."""
        while not self._over.is_set():
            try:
                for command, _ in self._api.events("/commands"):
                    if command == "cancel":
                        worker.send(b'{"type":"cancel"}')
                        self._in_thread(worker.stop, _GRACE)
                    elif command == "end":
                        self._end()  # and the stream, so that its connection is of use to the next run
            except Unreachable:
                pass
            except Refused:
                return self._end()
            self._over.wait(_RETRY)

    def _refused(self, refused: Refused) -> None:
        """Lines are refused: the attempt has ended (401), or has lost lines (409): end the worker.

        Anything else is of no use to send again, such as a line that is too long: the run fails.
        What is refused of other requests is not what the worker says. It only ends the attempt.
        """
        if refused.status not in (401, 409):
            line = {"type": "error", "message": f"The server refuses what the worker says: {refused}"}
            with suppress(Unreachable, Refused):
                self._post([json.dumps({**line, "retryable": False}).encode()], numbered=False)
        self._end()

    @staticmethod
    def _in_thread(do: Callable[..., None], *args: object) -> None:
        threading.Thread(target=do, args=args, daemon=True).start()

    def _end(self) -> None:
        self._over.set()
        with self._changed:
            self._changed.notify_all()
        if self._worker is not None:
            self._worker.stop(0)


def _type_of(line: bytes) -> Any:
    return json.loads(line).get("type")


def _ends_run(line: bytes) -> bool:
    """Whether a line is the worker's last one. One that a pool ignores, as it is not valid, is none."""
    fields = json.loads(line)
    try:
        return fields["type"] in _ENDS and decode(fields) is not None
    except ProtocolError:
        return False


def _as_event(line: bytes) -> bytes:
    """A line of a worker as an event: an object of the protocol, or a line of the log."""
    text = line.decode("utf-8", "replace").lstrip("\ufeff")
    try:
        value = json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str) or value["type"] in _OWN:
        return _log_line(text)
    return text.strip().encode()


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _log_line(text: str) -> bytes:
    return json.dumps({"type": "log", "text": text}).encode()
