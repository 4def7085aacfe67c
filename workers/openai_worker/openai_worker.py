"""Any model behind an OpenAI-compatible API, streamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.request import getproxies

try:
    import openai
except ImportError as error:
    raise ImportError(
        "the library openai is not installed where the pool runs; "
        "install it there: pip install 'branchline[workers]'"
    ) from error

with suppress(ImportError):  # runs with MCP servers say what is missing
    import mcp  # noqa: F401 - before the host forks, for it takes a second

import background_responses
import chat_completions
import functions

from runtime.sdk import Failure, Run, chat_server, worker
from runtime.sdk.addresses import public_address
from runtime.sdk.model_errors import failure_of
from runtime.sdk.packed import UNPACKED, refuse_packed
from runtime.sdk.tool_turns import Toolbox, is_on, mcp_servers

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
_CLIENT = chat_server.client()
_TO_STRANGERS = openai.DefaultHttpxClient(
    follow_redirects=False,
    headers=UNPACKED,
    event_hooks={"request": [_to_a_public_address], "response": [refuse_packed]},
)
"""For servers that only a user has chosen: neither their name nor a redirect leads into a private network,
and no answer unpacks to more than was sent."""


@worker.choices("model")
def models() -> list[str]:
    """Those of the server that this installation has chosen."""
    client = _CLIENT.with_options(timeout=10, max_retries=0)
    return sorted(model.id for model in client.models.list())


def run(run: Run) -> Iterator[str]:
    """Stream the model's answer; its reasoning is a message of its own."""
    url = run.config.get("base_url")
    strange = bool(url) and not _is_trusted(url)
    client = _strange_client(url) if strange else _CLIENT.with_options(base_url=url) if url else _CLIENT
    server = client.base_url.host
    model = chat_server.model_of(run)
    try:
        api = background_responses if run.config.get("api") == "responses" else chat_completions
        if not functions.has_some(run):
            yield from api.answer(run, client, model)
            return
        run.discard()  # what it has said and called is in its durable steps
        with mcp_servers(
            run, commands="OPENAI_MCP_COMMANDS", private_urls="OPENAI_PRIVATE_MCP_URLS"
        ) as servers:
            api.answer_with_tools(run, client, model, Toolbox(run, functions.of(run), servers))
    except Exception as raised:
        error = raised.__cause__ if isinstance(raised, Failure) and raised.__cause__ else raised
        if strange and isinstance(error, openai.APIConnectionError | OSError):
            # From None: how it failed would tell open ports from closed ones, and the log is the user's.
            raise _unreachable(error, server) from None
        if isinstance(raised, Failure):
            raise
        raise failure_of(error, server=server, model=model) or error from error


def _is_trusted(url: str) -> bool:
    """Whether the installation has chosen this server, and not only a user."""
    others = os.environ.get("OPENAI_OTHER_BASE_URLS", "").split()
    return any(_same(url, known) for known in (str(_CLIENT.base_url), *others))


def _strange_client(url: str) -> openai.OpenAI:
    """The client for a server that only a user has chosen.

    It does not get the installation's key; otherwise anybody could have the key sent to a
    server of their own. Unless the installation allows it, the server's address is a public one.
    """
    client = _CLIENT.with_options(base_url=url, api_key=_NO_KEY)
    anywhere = is_on("OPENAI_PRIVATE_BASE_URLS")
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
