"""Any model behind an OpenAI-compatible API, streamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.request import getproxies

try:
    import openai
except ImportError as error:
    raise ImportError(
        "the library openai is not installed where the pool runs; "
        "install it there: pip install 'branchline[workers]'"
    ) from error

import background_responses
import chat_completions

from runtime.sdk import Failure, Run
from runtime.sdk.addresses import public_address

_MODEL = "gpt-5.4-mini"
_NO_KEY = "none"
"""Sent in place of the key to servers that may not have it; those that need no key ignore it."""
_PORTS = {"http": 80, "https": 443}


def _to_a_public_address(request: Any) -> None:
    """Send a request to the address that was checked, whatever the name's next look-up would give.

    Host header and certificate stay those of the name. A proxy resolves names itself, so
    what it is asked for keeps its name; where it leads is then the proxy's to decide.
    """
    host, scheme = request.url.raw_host.decode(), request.url.scheme
    address = public_address(host, request.url.port or _PORTS[scheme])
    if scheme not in getproxies():
        request.extensions["sni_hostname"] = host
        request.url = request.url.copy_with(host=address)


# Made once, before the host forks: reading the certificates takes longer than the rest of a start.
_CLIENT = openai.OpenAI(
    api_key=os.environ.get("OPENAI_API_KEY", ""), base_url=os.environ.get("OPENAI_BASE_URL") or None
)
_TO_STRANGERS = openai.DefaultHttpxClient(
    follow_redirects=False, event_hooks={"request": [_to_a_public_address]}
)
"""For servers that only a user has chosen: neither their name nor a redirect leads into a private network."""


def run(run: Run) -> Iterator[str]:
    """Stream the model's answer; its reasoning is a message of its own."""
    url = run.config.get("base_url")
    strange = bool(url) and not _is_trusted(url)
    client = _strange_client(url) if strange else _CLIENT.with_options(base_url=url) if url else _CLIENT
    server = client.base_url.host
    model = run.config.get("model") or os.environ.get("OPENAI_MODEL") or _MODEL
    try:
        api = background_responses if run.config.get("api") == "responses" else chat_completions
        yield from api.answer(run, client, model)
    except (openai.APIError, OSError) as error:
        if strange and isinstance(error, openai.APIConnectionError | OSError):
            # From None: how it failed would tell open ports from closed ones, and the log is the user's.
            raise _unreachable(error, server) from None
        if isinstance(error, openai.APIError):
            raise _failure(error, server, model) from error
        raise


def _is_trusted(url: str) -> bool:
    """Whether the installation has chosen this server, and not only a user."""
    others = os.environ.get("OPENAI_OTHER_BASE_URLS", "").split()
    return any(_same(url, known) for known in (str(_CLIENT.base_url), *others))


def _strange_client(url: str) -> openai.OpenAI:
    """The client for a server that only a user has chosen.

    It does not get the installation's key; otherwise anybody could have the key sent to a
    server of their own. Unless the installation allows it, the server's address is a public one.
    """
    anywhere = os.environ.get("OPENAI_PRIVATE_BASE_URLS", "").lower() in ("true", "1", "yes", "on")
    client = _CLIENT.with_options(base_url=url, api_key=_NO_KEY)
    return client if anywhere else client.with_options(http_client=_TO_STRANGERS)


def _same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _unreachable(error: Exception, server: str) -> Failure:
    """The same sentence however a server that a user has chosen could not be reached."""
    # Older versions of the library wrap what was raised before a request is sent, newer ones do not.
    if isinstance(error, PermissionError) or isinstance(error.__cause__, PermissionError):
        return Failure(
            f"{server} is not at a public address, and this installation does not allow others. "
            "Whoever operates it can name the server in OPENAI_OTHER_BASE_URLS."
        )
    return Failure(f"{server} gave no answer as a server of models does.", retryable=True)


def _failure(error: openai.APIError, server: str, model: str) -> Failure:
    """The library's error as a sentence for the user."""
    detail = error.message.strip() or type(error).__name__
    match error:
        case openai.APITimeoutError():
            return Failure(f"{server} did not answer in time.", retryable=True)
        case openai.APIConnectionError():
            return Failure(f"{server} could not be reached: {error.__cause__ or detail}", retryable=True)
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return Failure(f"{server} refused the key: {detail}")
        case openai.NotFoundError():
            return Failure(f"{server} does not have the model {model!r}: {detail}")
        case openai.RateLimitError() if error.code == "insufficient_quota":
            return Failure(f"The account's quota at {server} is used up: {detail}")
        case openai.RateLimitError():
            return Failure(f"{server} is asked too often: {detail}", retryable=True)
        case openai.APIStatusError():
            return Failure(
                f"{server} answered {error.status_code}: {detail}", retryable=error.status_code >= 500
            )
        case _:  # in the middle of the answer
            return Failure(f"{server} broke off: {detail}", retryable=True)
