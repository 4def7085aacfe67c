"""Where subsystems are registered: what carries out each kind of task, further duties of the reaper, and
what is asked before a message is queued for a turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runtime.dispatch import Dispatcher
from runtime.dispatch.naming import Naming
from runtime.dispatch.outbox import Outbox
from runtime.dispatch.summaries import Summaries
from runtime.panel.service import AgentChats
from runtime.services import Services
from runtime.sessions import store as sessions_store
from runtime.sessions.service import Sessions
from runtime.store import follow_ups, queued_messages, threads, turns
from runtime.systems import mailboxes
from runtime.systems.service import Systems


def dispatcher_of(services: Services) -> Dispatcher:
    """What makes runs, with what sessions have to say of messages to their turns."""
    return Dispatcher(services, sessions_store.check_turn)


def outbox_of(services: Services) -> Outbox:
    """The outbox of a process."""
    dispatcher = Dispatcher(services)
    sessions = _sessions(services, dispatcher)
    summaries = Summaries(dispatcher, services.database)
    naming = Naming(services, dispatcher)
    systems = Systems(dispatcher, services.database)
    handlers = {
        queued_messages.NEXT_RUN: lambda task: dispatcher.begin_next(task["run_id"]),
        follow_ups.NAME: lambda task: naming.name(task["thread_id"]),
        follow_ups.SUM_UP: lambda task: summaries.sum_up(task["run_id"]),
        turns.CHANGED: lambda task: sessions.follow(task["run_id"]),
        threads.DELETED: lambda task: sessions.thread_deleted(task["thread_id"]),
        mailboxes.ARRIVED: lambda task: systems.advance(task["entity_id"]),
        mailboxes.AGAIN: lambda task: systems.again(task["entity_id"], task["message_id"]),
        mailboxes.HANDLED: lambda task: systems.handled(task["message_id"]),
        mailboxes.EXPIRED: lambda task: systems.expire(task["correlation_id"]),
        mailboxes.HELD: lambda task: systems.let_pass(task["system_id"]),
    }
    return Outbox(services.database, handlers)


def further_duties(services: Services) -> Mapping[str, Callable[[], object]]:
    """The duties of a reaper that the core does not know, by name."""
    dispatcher = Dispatcher(services)
    chats = AgentChats(dispatcher, services.database, services.log, services.settings)
    return {
        "look after sessions": _sessions(services, dispatcher).look_after,
        "end unused agent chats": chats.end_unused,
    }


def _sessions(services: Services, dispatcher: Dispatcher) -> Sessions:
    return Sessions(dispatcher, services.database, services.log, services.settings)
