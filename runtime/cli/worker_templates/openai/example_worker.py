"""A model's answer, as OpenAI's library streams it."""

from __future__ import annotations

import os
from typing import Any

from openai import OpenAI

from runtime.sdk import Run, serve

# Made once, before the first run: that takes longer than the rest of a start.
client = OpenAI(api_key=os.environ.get("OPENAI_API_KEY") or "none")


def answer(run: Run) -> Any:
    """The chunks of the answer; serve() knows what they mean."""
    messages: Any = run.as_openai(system="Answer briefly.")
    return client.chat.completions.create(
        model=os.environ.get("OPENAI_MODEL") or "gpt-5.4-mini",
        messages=messages,
        stream=True,
        stream_options={"include_usage": True},
    )


run = serve(answer)
