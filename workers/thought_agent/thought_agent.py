"""A model that thinks before it answers, in the reasoning channel, whichever model it is."""

from __future__ import annotations

from runtime.sdk import Failure, Run, chat_server
from runtime.sdk.durable_answers import ask

_CLIENT = chat_server.client()
_THINK = (
    "Think about what is said last, step by step: what is asked, what you know, what could be wrong. "
    "Write your thoughts only, as notes to yourself. Do not answer yet."
)
_ANSWER = "You have thought about what is said last. Answer it, without repeating your thoughts, which are:"


def run(run: Run) -> None:
    """Think, then answer; either is a durable step."""
    model = chat_server.model_of(run)
    conversation = run.as_openai(tools=False)
    if all(message["role"] == "system" for message in conversation):
        raise Failure("There is no message to answer.")
    with run.step("Thinking"):
        thought = ask(run, "thought", _CLIENT, model, _told(run, _THINK), show="reasoning")
    ask(run, "answer", _CLIENT, model, _told(run, f"{_ANSWER}\n\n{thought['content']}"))


def _told(run: Run, instruction: str) -> list[dict[str, object]]:
    """The conversation, with an instruction before it.

    Behind it, it would be a second message of the user in a row, which some models refuse.
    """
    prompt = run.config.get("system_prompt")
    return run.as_openai(system=f"{prompt}\n\n{instruction}" if prompt else instruction, tools=False)
