"""Pages of the web, read by the addresses that the user gives.

A user chooses the server. So it is connected to at the address that was checked, which is a public one
unless the installation allows others, and a redirect is a new address to be checked. What the server
has asked of programs in its robots.txt (RFC 9309) is honoured, also by whoever is redirected to it.
"""

from __future__ import annotations

import json
import re
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
from conversion import Content, form_of

from runtime.sdk import Failure
from runtime.sdk.addresses import public_address

NAME = "Branchline"
"""What we call ourselves; a robots.txt may have rules for it."""
SECONDS = 60.0
"""That reading one page may take, with all redirects."""
_SILENCE = 15.0
"""Seconds without a byte after which a server is given up."""
_MOST_REDIRECTS = 5
_PIECE = 1 << 16
"""Bytes that are unpacked at once."""
_LARGEST_RULES = 500 << 10
"""Bytes of a robots.txt that are read; what is behind them is left out."""
_LONGEST = 500
"""Characters of an address, which is the name of the document."""
_PORTS = {"http": 80, "https": 443}
_HEADERS = {
    "User-Agent": f"{NAME} (reads this page for the knowledge base of one who has asked for it)",
    "Accept": "text/html, application/xhtml+xml, text/markdown, text/plain, application/pdf, */*;q=0.1",
    "Accept-Encoding": "gzip",
    # A connection is of one name: another one at the same address has a certificate of its own.
    "Connection": "close",
}
_KINDS = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/markdown": "markdown",
    "text/plain": None,  # its name may say that it is Markdown
}
"""What a page is read as, by its media type."""
_CHARSETS = re.compile(
    r"iso-8859-\d{1,2}|windows-\d{3,4}|koi8-[ru]|shift_jis|euc-(?:jp|kr)|big5|gb2312|gbk|gb18030", re.I
)
_VALIDATORS = {"If-None-Match": "ETag", "If-Modified-Since": "Last-Modified"}
"""How a server is asked by what it has said (RFC 9110)."""
_OF = "url"
_LONGEST_VALIDATOR = 1000
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
"""Of bytes, that tell the encoding of a text."""


class Reader:
    """Reads pages, one after the other."""

    def __init__(self, private: bool, largest: int, largest_text: int) -> None:
        """``private``: whether servers may be in a private network, or on this machine.

        ``largest``, ``largest_text``: bytes that a page may have, and one that is a text.
        """
        self._private = private
        self._largest = largest
        self._largest_text = largest_text
        self._transport: httpx.HTTPTransport | None = None
        self._rules: dict[str, Any] = {}
        """What each server that was asked has said in its robots.txt."""

    def read(self, address: str, validator: str | None = None) -> Content | None:
        """The page at an address; None: it is as it was when it had that validator. Raises Failure."""
        found: Future[Content | None] = Future()
        conditions = _conditions(validator)

        def work() -> None:
            try:
                found.set_result(self._read(address, conditions, time.monotonic() + SECONDS))
            except BaseException as error:
                found.set_exception(error)

        # A server may send a byte now and then for ever, and nothing but the clock ends that.
        threading.Thread(target=work, daemon=True).start()
        try:
            return found.result(SECONDS)
        except TimeoutError as error:
            raise Failure(f"it was not answered within {SECONDS:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, zlib.error) as error:
            raise Failure(f"it cannot be reached: {error}") from error

    def _read(self, address: str, conditions: Mapping[str, str], until: float) -> Content | None:
        if len(address) > _LONGEST:
            raise Failure(f"it has more than {_LONGEST} characters")
        url = _checked(address)
        for _ in range(_MOST_REDIRECTS + 1):
            self._check_rules(url, until)
            is_known = conditions.get(_OF) == str(url)
            answer = self._ask(
                url, {name: conditions[name] for name in _VALIDATORS if name in conditions and is_known}
            )
            try:
                if is_known and answer.status_code == 304:
                    return None
                if not answer.has_redirect_location:
                    return replace(self._page(answer, until), validator=_validator(url, answer))
            finally:
                answer.close()
            url = _checked(str(url.join(answer.headers["Location"])))
        raise Failure("it leads from one address to the next")

    def _ask(self, url: httpx.URL, conditions: Mapping[str, str] | None = None) -> httpx.Response:
        """The beginning of an answer, from a server that may be asked."""
        timeout = httpx.Timeout(_SILENCE).as_dict()
        headers = {**_HEADERS, **(conditions or {})}
        request = httpx.Request("GET", url, headers=headers, extensions={"timeout": timeout})
        if not self._private:
            try:
                host = url.raw_host.decode()
                # The header Host is that of the name already, and so is the certificate to be.
                request.url = url.copy_with(host=public_address(host, url.port or _PORTS[url.scheme]))
                request.extensions["sni_hostname"] = host
            except PermissionError:
                raise Failure("it is not at a public address") from None
        if self._transport is None:
            self._transport = httpx.HTTPTransport(trust_env=False)
        return self._transport.handle_request(request)

    def _page(self, answer: httpx.Response, until: float) -> Content:
        if answer.status_code != 200:
            raise Failure(f"it was answered with {answer.status_code} {answer.reason_phrase}")
        type, _, parameters = answer.headers.get("Content-Type", "").partition(";")
        type = type.strip().lower()
        if type in _KINDS:
            content = _body(answer, self._largest_text, until)
            return Content(_as_utf8(content, parameters), _KINDS[type])
        content = _body(answer, self._largest, until)
        if form_of(content) is None:
            raise Failure(f"it is of the type {type or 'that its server does not say'}, which cannot be read")
        return Content(content)

    def _check_rules(self, url: httpx.URL, until: float) -> None:
        """Raises Failure where the server does not want it to be read."""
        origin = url.copy_with(raw_path=b"/", fragment=None)
        rules = self._rules.get(str(origin))
        if rules is None:
            rules = self._rules[str(origin)] = _parsed(self._said_rules(origin, until))
        if not rules.can_fetch(str(url), NAME):
            raise Failure("its server does not allow it to be read by programs (robots.txt)")

    def _said_rules(self, origin: httpx.URL, until: float) -> str:
        """A robots.txt; empty where there is none. Raises Failure where it cannot be had."""
        url = origin.join("/robots.txt")
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._ask(url)
            try:
                if answer.status_code == 200:
                    return _body(answer, _LARGEST_RULES, until, cut=True).decode("utf-8", "replace")
                if not answer.has_redirect_location:
                    break
            finally:
                answer.close()
            url = _checked(str(url.join(answer.headers["Location"])))
        if answer.status_code == 429 or answer.status_code >= 500:
            raise Failure(f"its server does not say what may be read: robots.txt has {answer.status_code}")
        return ""


def _parsed(rules: str) -> Any:
    try:
        from protego import Protego
    except ImportError as error:
        raise Failure(
            "pages need the library protego, which is not installed where the pool runs; "
            "install it there: pip install 'branchline[workers]'"
        ) from error
    return Protego.parse(rules)


def _checked(address: str) -> httpx.URL:
    """An address without its fragment. Raises Failure, httpx.InvalidURL."""
    url = httpx.URL(address).copy_with(fragment=None)
    if url.scheme not in _PORTS or not url.host:
        raise Failure("it is not an address of the web (http, https)")
    if url.userinfo:
        raise Failure("it has a name or a password in it, which are not sent")
    return url


def _validator(url: httpx.URL, answer: httpx.Response) -> str | None:
    """By what a server will be asked whether a page has changed; of the page where redirects have led."""
    given = {name: answer.headers[header] for name, header in _VALIDATORS.items() if header in answer.headers}
    text = json.dumps({_OF: str(url), **given})
    return text if given and len(text) <= _LONGEST_VALIDATOR else None


def _conditions(validator: str | None) -> dict[str, str]:
    """What :func:`_validator` has made; empty where another worker has made it, of whatever it is."""
    try:
        found = json.loads(validator or "{}")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str) and _fits(value)}


def _fits(value: str) -> bool:
    """Whether a header can have it. A server may have sent other bytes, which are not sent back."""
    return value.isascii() and value.isprintable()


def _body(answer: httpx.Response, largest: int, until: float, cut: bool = False) -> bytes:
    """The body of an answer. Raises Failure where it is too large, unless it is to be ``cut``."""
    body = bytearray()
    for piece in _decoded(answer):
        body += piece
        if len(body) > largest:
            if cut:
                return bytes(body[:largest])
            raise Failure(f"it is larger than {largest >> 20} MiB")
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(body)


def _decoded(answer: httpx.Response) -> Iterator[bytes]:
    """The body of an answer in pieces, none of them large, however far it was compressed."""
    coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if coding == "identity":
        yield from answer.iter_raw()
        return
    if coding not in ("gzip", "x-gzip"):
        raise Failure(f"it was answered in the encoding {coding}, which was not asked for")
    unpacked = zlib.decompressobj(wbits=zlib.MAX_WBITS + 16)
    for piece in answer.iter_raw():
        while piece:
            yield unpacked.decompress(piece, _PIECE)
            piece = unpacked.unconsumed_tail
    if not unpacked.eof:
        raise Failure("its answer was cut off")


def _as_utf8(content: bytes, parameters: str) -> bytes:
    """A text in UTF-8, where its server says that it is in one of the old encodings."""
    said = re.search(r"charset\s*=\s*[\"']?([\w-]+)", parameters)
    if said and _CHARSETS.fullmatch(said[1]) and not content.startswith(_MARKS):
        with suppress(LookupError):
            return content.decode(said[1], "replace").encode()
    return content
