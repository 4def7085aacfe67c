"""What a client may do with agent chats, and what becomes of those that nobody uses."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from runtime.dispatch import Dispatcher, NewThread, RunRequest
from runtime.dispatch.titles import first_words
from runtime.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, UnknownWorker
from runtime.model import Json, Role, User
from runtime.panel import store, tokens
from runtime.panel.model import AgentChat, AgentType, Caller, encode_message
from runtime.sessions.model import MAX_MESSAGES
from runtime.sessions.service import CONTEXT, Sessions
from runtime.sessions.store import count_messages
from runtime.settings import Settings
from runtime.store import Connection, Database, states, threads
from runtime.store.page import Page
from runtime.store.states import NewMessage
from runtime.stream import EventLog

_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of a person to an agent."""

    text: str
    context: Mapping[str, Json] | None = None
    """The arguments of the run that answers it."""
    client_id: str | None = None
    """The client's own name for it: in one chat a message of one name is taken once."""
    files: tuple[str, ...] = ()
    """The ids of uploaded files that it names."""

    @property
    def fingerprint(self) -> str:
        """What tells it from another message of the same name."""
        said = orjson.dumps([self.text, self.context, *self.files], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(said).hexdigest()

    def new(self) -> NewMessage:
        """The message as it is stored."""
        data = {CONTEXT: self.context} if self.context else {}
        return NewMessage(Role.USER, self.text, data=data, files=[{"id": one} for one in self.files] or None)


@dataclass(frozen=True, slots=True)
class _OncePerChat:
    """Has a message taken once in its chat, and only if that has not expired."""

    caller: Caller
    chat: AgentChat
    sent: Sent
    ttl: float

    def begin(self, c: Connection) -> dict[str, Json] | None:
        """The run that the message has begun before. Raises SessionExpired, Conflict."""
        chat, sent = self.chat, self.sent
        store.get(c, self.caller, chat.session_id, self.ttl, lock=True)
        if sent.client_id is not None:
            run_id = store.sent_before(c, chat.session_id, sent.client_id, sent.fingerprint)
            if run_id is not None:
                return {"run": {"id": run_id}}
        if not count_messages(c, chat.thread_id):
            threads.update(c, chat.workspace_id, chat.thread_id, title=first_words([sent.new()]))
        store.use(c, chat.session_id)
        return None

    def finish(self, c: Connection, answer: dict[str, Json]) -> None:
        """Note the run, if the message has a name."""
        sent = self.sent
        if sent.client_id is not None:
            run_id = answer["run"]["id"]
            store.keep_sent(c, self.chat.session_id, sent.client_id, sent.fingerprint, run_id)


class AgentChats:
    """The agent chats of all users."""

    def __init__(self, dispatcher: Dispatcher, database: Database, log: EventLog, settings: Settings) -> None:
        """Raises ConfigurationError where what a session follows is not set as it should be."""
        self._dispatcher = dispatcher
        self._database = database
        self._sessions = Sessions(dispatcher, database, log, settings)
        self._agents = settings.panel_agents
        self._ttl = settings.panel.session_ttl_hours * _HOUR
        self._most = settings.panel.max_messages_per_session

    def create(
        self,
        caller: Caller,
        agent_type: AgentType,
        project_id: str | None = None,
        continues: str | None = None,
    ) -> AgentChat:
        """A new chat, or the one that continues the chat ``continues`` already.

        It has that one's project unless another is named. Raises Invalid where there is no worker for
        that type, or it cannot run, Forbidden where the caller may not begin one with it, and
        SessionExpired where there is nothing to continue.
        """
        if agent_type not in caller.agent_types:
            raise Forbidden(f"This token is not for agents of the type {agent_type}.")
        user = caller.user
        worker_id = self._worker(user, agent_type)

        def create(c: Connection) -> AgentChat:
            project = project_id
            if continues is not None:
                before = store.get(c, caller, continues, self._ttl, lock=True)
                begun = store.continuation(c, caller, continues, self._ttl)
                if begun is not None:
                    return begun
                project = project_id if project_id is not None else before.project_id
            thread = threads.create(c, workspace_id=user.workspace_id, user_id=user.id, worker_id=worker_id)
            session = self._sessions.create_within(
                c, thread, user.id, thread.root_state_id, limits={MAX_MESSAGES: self._most or None}
            )
            return store.create(c, session, agent_type, project, caller.subject, continues)

        return self._database.write(create)

    def get(self, caller: Caller, session_id: str) -> AgentChat:
        """Raises SessionExpired, also for what is somebody else's."""
        return self._database.read(store.get, caller, session_id, self._ttl)

    def history(self, caller: Caller, session_id: str, *, limit: int, cursor: str | None) -> dict[str, Json]:
        """The chat with the newest messages, or those before ``cursor``. Raises SessionExpired."""

        def read(c: Connection) -> dict[str, Json]:
            chat = store.get(c, caller, session_id, self._ttl)
            thread = threads.get(c, chat.workspace_id, chat.thread_id)
            tip = thread.latest_state_id
            window = states.history(c, chat.workspace_id, tip, limit=limit, cursor=cursor)
            said = [encode_message(message) for message in window.items]
            return {**chat.encode(), "messages": said, "next": window.next}

        return self._database.snapshot(read)

    def listing(
        self, caller: Caller, *, project_id: str | None, limit: int, cursor: str | None
    ) -> Page[AgentChat]:
        """The user's chats, last used first."""
        return self._database.read(
            store.listing, caller, self._ttl, project_id=project_id, limit=limit, cursor=cursor
        )

    def send(self, caller: Caller, session_id: str, sent: Sent) -> str:
        """Have the agent answer a message; the id of the run that does, or that reads it as it goes on.

        Raises SessionExpired, SessionFull, Conflict where ``client_id`` has named another message,
        NotFound for files that are not the caller's, and what :meth:`Sessions.send` raises.
        """
        chat = self.get(caller, session_id)
        self._check_files(caller, sent.files)
        once = _OncePerChat(caller, chat, sent, self._ttl)
        answer = self._sessions.send(caller.user, chat.thread_id, [sent.new()], once)
        return str(answer["run"]["id"])

    def working(self, caller: Caller, session_id: str) -> str | None:
        """The run by which the agent is at work; None where it is not, or waits. Raises SessionExpired."""

        def find(c: Connection) -> str | None:
            chat = store.get(c, caller, session_id, self._ttl)
            return store.working(c, chat.session_id)

        return self._database.read(find)

    def stop(self, caller: Caller, session_id: str) -> None:
        """Cancel what the agent does. Raises SessionExpired."""
        self._sessions.stop(caller.user, self.get(caller, session_id).thread_id)

    def answer(self, caller: Caller, session_id: str, confirmation_id: str | None, answer: Json) -> None:
        """Answer the agent's question. Raises SessionExpired, Conflict where it has asked nothing."""
        session = self._sessions.get(caller.user, self.get(caller, session_id).thread_id)
        if session.run_id is None:
            raise Conflict("The agent has asked nothing.")
        self._dispatcher.answer(caller.user, session.run_id, confirmation_id, answer)

    def delete(self, caller: Caller, session_id: str) -> None:
        """Move the chat's thread to the trash, and end what runs there. Raises SessionExpired."""
        self._dispatcher.delete_thread(caller.user, self.get(caller, session_id).thread_id)

    def end_unused(self) -> None:
        """Archive what nobody has used for too long."""
        session_ids = self._database.read(store.unused, self._ttl)
        if session_ids:
            self._database.write(store.end, session_ids, self._ttl)

    def _check_files(self, caller: Caller, file_ids: Sequence[str]) -> None:
        """Raise NotFound where a message names files that are not of the caller's chats, nor new."""
        if not file_ids or caller.subject is None:
            return
        missing = self._database.read(tokens.unnameable, caller.user, caller.subject, file_ids)
        if missing is not None:
            raise NotFound(f"There is no file {missing}; upload it first.")

    def _worker(self, user: User, agent_type: AgentType) -> str:
        """The worker of that type. Raises Invalid."""
        worker_id = self._agents[agent_type]
        try:
            self._dispatcher.prepare(user, NewThread(), RunRequest(worker_id=worker_id))
        except UnknownWorker:
            message = (
                f"There is no worker {worker_id!r}, which agents of the type {agent_type} are. "
                f"PANEL_AGENTS names another one, as in {agent_type}=openai_worker."
            )
            raise Invalid(message, [FieldError(("agent_type",), "has no worker here")]) from None
        return worker_id
