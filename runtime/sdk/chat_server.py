"""The server of chat completions that the environment of a pool names, by OpenAI's library."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

try:
    import openai
except ImportError as error:
    raise ImportError(
        "the library openai is not installed where the pool runs; "
        "install it there: pip install 'branchline[workers]'"
    ) from error

if TYPE_CHECKING:
    from .run import Run

_MODEL = "gpt-5.4-mini"


def client() -> openai.OpenAI:
    """A client of OpenAI's server, or of another one where OPENAI_BASE_URL names it.

    To be made as the worker is imported, before its host forks: reading the certificates takes longer
    than the rest of a start.
    """
    return openai.OpenAI(
        api_key=os.environ.get("OPENAI_API_KEY", ""), base_url=os.environ.get("OPENAI_BASE_URL") or None
    )


def model_of(run: Run) -> str:
    """The model that a run is to ask: its configuration's, else that of OPENAI_MODEL, else a small one."""
    return str(run.config.get("model") or os.environ.get("OPENAI_MODEL") or _MODEL)
