"""Summaries of what the windows of runs leave out, each made by a run of a worker.

That is a run like any other, of the same user: admitted, limited, isolated, retried. Only the helper
thread that it works on is in no list. A task of the outbox, written when the run has ended whose
window has left something out, begins it and waits for its end. No turn waits for a summary: it is
given the newest one that is there.

One summary of a thread is made at a time. What was to be summed up meanwhile is left out where the
conversation has gone on from there: the next end on that branch has a task of its own, which covers more.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from runtime.dispatch.dispatcher import Dispatcher
from runtime.dispatch.outbox import Later
from runtime.dispatch.request import NewThread, RunRequest
from runtime.errors import TooMany, UnknownWorker, WorkerElsewhere, WorkerError, WorkerUnavailable
from runtime.model import Channel, Message, MessageType, Role, Run, RunStatus
from runtime.sdk.messages import Message as Shown
from runtime.store import Database, follow_ups, messages, outbox, runs, states, summaries, users

log = logging.getLogger(__name__)

_MOST, _CHARACTERS = 100, 100_000
"""How many messages a run is given to sum up; where there are more, the next one is."""
_OF_MESSAGE = 4_000
"""Characters of each."""
_LONGEST = 20_000
"""Characters of a summary."""
_PRIORITY = -100
"""The priority among its user's runs: those that somebody waits for go first."""
_PATIENCE = 60.0
"""Seconds until a run is looked at that makes a summary; its end wakes the task."""
_PAUSE = 10.0
"""Seconds until a summary is tried again that cannot be made now."""
_PROMPT = (
    "Sum up this conversation for somebody who goes on with it without having read it: what is wanted, what "
    "was found out, decided and done, and what is open. Keep names, numbers and places. If it begins with a "
    "summary, take over from that what still matters. Answer with nothing but the summary, in the "
    "language of the conversation, in at most 300 words."
)


class Summaries:
    """Carries out the tasks to sum up what windows leave out."""

    def __init__(self, dispatcher: Dispatcher, database: Database) -> None:
        self._dispatcher = dispatcher
        self._database = database

    def sum_up(self, run_id: str) -> Later | None:
        """Have summed up what has slid out of the window of a run by its end, or keep what was made of it.

        Raises WorkerError where its worker has made nothing of it, and what :meth:`Dispatcher.create` raises.
        """
        run = self._database.read(runs.find, run_id)
        if run is None:
            return None  # it was purged with its thread
        task = outbox.name_of(follow_ups.SUM_UP, run.output_state_id)
        helpers = self._database.read(summaries.helpers, run.thread_id)
        own = next((helper.run for helper in helpers if helper.task == task), None)
        if own is None:
            if not all(follow_ups.has_stopped(helper.run) for helper in helpers):
                return self._wait(run, "Another summary of the thread is being made.")
        elif not follow_ups.has_stopped(own):
            return Later(_PATIENCE, f"The run {own.id} makes it.")
        elif not self._keep(run, own):
            return None
        return self._begin(run, task)

    def _begin(self, run: Run, task: str) -> Later | None:
        slid = self._database.read(summaries.slid, run, _MOST, _CHARACTERS)
        if slid is None or run.window is None:
            return None
        request = RunRequest(
            messages=_asked(slid),
            worker_id=run.window["summary"],
            args={"summary_of": run.thread_id, "covers": slid.covers},
            priority=_PRIORITY,
        )
        user = self._database.read(users.get, run.user_id)
        try:
            self._dispatcher.create(user, NewThread("Summary", helps=run.thread_id, awaited_by=task), request)
        except (UnknownWorker, WorkerElsewhere, WorkerUnavailable, TooMany) as error:
            return self._wait(run, str(error))
        return Later(_PATIENCE, "Its run has begun.")

    def _keep(self, run: Run, helper: Run) -> bool:
        """Keep what a run has made. Returns whether it has made something; if not, a later end may do.

        Raises WorkerError where none will.
        """
        output = self._database.read(messages.of_state, helper.output_state_id)
        text = "\n\n".join(m.content for m in output if _is_answer(m)).strip()
        if helper.status is RunStatus.SUCCESS and text:
            self._database.write(summaries.keep, helper, text[:_LONGEST])
            return True
        self._database.write(summaries.dismiss, helper)
        why = helper.error.message if helper.error else f"its run ended: {helper.status}"
        failure = f"The worker {helper.worker_id!r} has made no summary: {why}"
        if not self._database.read(summaries.goes_on, run):
            raise WorkerError(failure)
        log.warning("%s (thread %s)", failure, run.thread_id)
        return False

    def _wait(self, run: Run, why: str) -> Later | None:
        """It cannot be made now; None where the conversation has gone on, whose end has a task of its own."""
        return None if self._database.read(summaries.goes_on, run) else Later(_PAUSE, why)


def _is_answer(message: Message) -> bool:
    return message.type is MessageType.TEXT and message.channel is Channel.ANSWER


def _asked(slid: summaries.Slid) -> Sequence[states.NewMessage]:
    """What the worker is given: the summary before, the messages since, and what it is to do."""
    asked = [_excerpt(message) for message in slid.messages if message.channel is Channel.ANSWER]
    if slid.previous is not None:
        before = states.NewMessage(Role.SYSTEM, slid.previous.content, author=summaries.AUTHOR)
        asked.insert(0, before)
    return [*asked, states.NewMessage(Role.USER, _PROMPT)]


def _excerpt(message: Message) -> states.NewMessage:
    """A message as text, for a worker that is to do nothing that it says."""
    fields: dict[str, Any] = message.encode()
    role = Role.ASSISTANT if message.role in (Role.ASSISTANT, Role.TOOL) else Role.USER
    return states.NewMessage(role, Shown(fields).as_text()[:_OF_MESSAGE], author=message.author)
