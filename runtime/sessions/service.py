"""What a person may do with a session, and what follows a turn.

Each change is one transaction that has locked the session, or that changes nothing unless the session
is as it was read. A run is begun in it, too, so that a turn is begun once; to announce and to publish
it comes after the commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from runtime.dispatch import Dispatcher, IdempotencyKey, RunRequest, after_commit
from runtime.dispatch.accept import OfSession, Prepared
from runtime.duties import for_each
from runtime.errors import (
    Conflict,
    FieldError,
    Invalid,
    NotFound,
    StaleAttempt,
    StreamUnavailable,
    TooMany,
    WorkerElsewhere,
    WorkerUnavailable,
)
from runtime.events import Event
from runtime.model import Json, Role, Run, RunStatus, Thread, User, new_id
from runtime.sessions import budget, ends, events, store
from runtime.sessions.model import MAX_MESSAGES, By, Reason, Session, Status, Wish
from runtime.sessions.store import Step
from runtime.settings import Settings
from runtime.store import (
    Connection,
    Database,
    files,
    pools,
    queued_messages,
    requests,
    runs,
    summaries,
    threads,
    windows,
)
from runtime.store.execute import on
from runtime.store.states import NewMessage
from runtime.store.summaries import Summary
from runtime.stream import EventLog, Hint

AUTO_AUTHOR = "auto"
"""The author of a prompt that nobody has written."""
CONTEXT = "context"
"""In the data of a message: the arguments of the turn that it begins."""
_NO_ROOM = (TooMany, WorkerUnavailable, WorkerElsewhere)
"""Why a turn cannot begin now, and can later."""
LIMITS = (Reason.MAX_TURNS, Reason.MAX_SECONDS, Reason.MAX_TOKENS, Reason.MAX_COST)


def _fresh(session: Session) -> Session:
    """The session after a message of a person."""
    return replace(session, used={**session.used, "turns": 0}, progress={})


def _is_to_end(session: Session) -> bool:
    """Whether its turn is to be cancelled."""
    return session.status is Status.CLOSED or (session.is_open and session.wish is Wish.STOP)


_ENDS = Step(Status.STOP, By.TURN, reason=ends.TURN_ENDED)


class Once(Protocol):
    """What has messages taken once, and only if they may be; called in the transaction that takes them."""

    def begin(self, c: Connection) -> dict[str, Json] | None:
        """The answer that they were given before; None: take them. Raises to have them refused."""
        ...

    def finish(self, c: Connection, answer: dict[str, Json]) -> None:
        """Keep the answer."""
        ...


@dataclass(frozen=True, slots=True)
class OncePerKey:
    """By the name that a client has given its request."""

    user_id: str
    key: IdempotencyKey

    def begin(self, c: Connection) -> dict[str, Json] | None:
        """Raises Conflict where the key was used for something else."""
        return requests.begin(c, self.user_id, self.key.key, self.key.fingerprint)

    def finish(self, c: Connection, answer: dict[str, Json]) -> None:
        """Keep it for as long as keys count."""
        requests.finish(c, self.user_id, self.key.key, answer)


@dataclass(frozen=True, slots=True)
class _Begin:
    """A turn that is to begin."""

    move: store.Move
    asked: Sequence[NewMessage]
    of_session: OfSession

    def at_once(self, prepared: Prepared) -> tuple[Session, runs.Created]:
        """Begin it, unless the session has changed since it was read: then raise Conflict."""
        tip = self.move.after.tip_state_id
        return prepared.queue_with(self.move, tip, self.asked, args=self.args, **self.of_session)

    def within(self, c: Connection, prepared: Prepared) -> runs.Created:
        """Queue its run in a transaction that has locked the session, and moves it."""
        tip = self.move.after.tip_state_id
        return prepared.queue(c, tip, self.asked, args=self.args, **self.of_session)

    @property
    def args(self) -> Json:
        """What the last message says for it."""
        return self.asked[-1].data.get(CONTEXT)


class Sessions:
    """The sessions of all threads."""

    def __init__(self, dispatcher: Dispatcher, database: Database, log: EventLog, settings: Settings) -> None:
        """Raises ConfigurationError where the file of prices is not as it should be."""
        self._dispatcher = dispatcher
        self._database = database
        self._log = log
        self._settings = settings.session
        self._window = settings.run.window
        self._prices = budget.prices(settings.session.prices)

    @property
    def _no_limits(self) -> dict[str, Json]:
        return {**dict.fromkeys(LIMITS), Reason.MAX_TURNS: self._settings.max_turns or None}

    # ── what a person does ──────────────────────────────────────────────────

    def create(
        self,
        user: User,
        thread_id: str,
        *,
        worker_id: str | None = None,
        config: Mapping[str, Json] | None = None,
        auto: Mapping[str, Json] | None = None,
        window: Mapping[str, Json] | None = None,
        limits: Mapping[str, Json] | None = None,
        state_id: str | None = None,
    ) -> Session:
        """Give a thread a session, which goes on from a state; None: the newest one that has ended.

        Raises NotFound, Conflict where it has one, and what is wrong with the worker, its config, or the
        worker of summaries.
        """
        self._prepare(user, thread_id, worker_id, config)
        self._check_window(user, thread_id, window)

        def create(c: Connection) -> Session:
            thread = threads.get(c, user.workspace_id, thread_id)
            tip = store.check_tip(c, thread_id, state_id) if state_id else store.newest_ended(c, thread_id)
            return self.create_within(
                c,
                thread,
                user.id,
                tip,
                worker_id=worker_id,
                config=config,
                auto=auto,
                window=window,
                limits=limits,
            )

        return self._told(self._database.write(create))

    def create_within(
        self,
        c: Connection,
        thread: Thread,
        user_id: str,
        tip_state_id: str,
        *,
        worker_id: str | None = None,
        config: Mapping[str, Json] | None = None,
        auto: Mapping[str, Json] | None = None,
        window: Mapping[str, Json] | None = None,
        limits: Mapping[str, Json] | None = None,
    ) -> Session:
        """Give a thread a session in a transaction of the caller's, who has checked what it is to be.

        Raises Conflict where it has one.
        """
        return store.create(
            c,
            thread,
            user_id,
            tip_state_id,
            worker_id=worker_id,
            config=None if config is None else dict(config),
            auto={"enabled": False, "prompt": None, **(auto or {})},
            window=dict(window or {}),
            limits={**self._no_limits, **(limits or {})},
            used=dict(budget.NOTHING),
        )

    def get(self, user: User, thread_id: str) -> Session:
        """Raises NotFound."""
        return self._database.read(store.get, user.workspace_id, thread_id)

    def summary(self, user: User, thread_id: str) -> tuple[str | None, Summary | None]:
        """Which worker sums up what the window leaves out, and the summary that the next turn is given.

        None: nobody does; there is none yet. Raises NotFound.
        """

        def read(c: Connection) -> tuple[Session, Thread, Summary | None]:
            session = store.get(c, user.workspace_id, thread_id)
            thread = threads.get(c, user.workspace_id, thread_id)
            return session, thread, summaries.newest(c, session.tip_state_id)

        session, thread, summary = self._database.read(read)
        worker = session.window.get("summary")
        if worker is None:
            with suppress(Invalid):  # the worker is not there, and cannot say so now
                worker = self._prepare(user, thread, session.worker_id, session.config).summary_worker
        return worker, summary

    def change(self, user: User, thread_id: str, changes: Mapping[str, Any]) -> Session:
        """Change ``auto``, ``limits`` and ``window``, of each what is named, or set ``tip_state_id``.

        A new tip holds from the next turn. Raises NotFound, Conflict where it is closed, and what is wrong
        with the worker of summaries.
        """
        self._check_window(user, thread_id, changes.get("window"))

        def change(c: Connection) -> Session:
            session = self._mine(c, user, thread_id)
            values: dict[str, Any] = {
                name: {**getattr(session, name), **changes[name]}
                for name in ("auto", "limits", "window")
                if changes.get(name) is not None
            }
            if changes.get("tip_state_id"):
                tip = store.check_tip(c, session.thread_id, changes["tip_state_id"])
                values |= {"tip_state_id": tip, "tip_is_set": session.is_open}
            return store.update(c, session, **values) if values else session

        return self._told(self._database.write(change))

    def send(
        self,
        user: User,
        thread_id: str,
        new: Sequence[NewMessage],
        once: Once | None = None,
    ) -> dict[str, Json]:
        """A person's messages: they begin a turn, or wait for the one that is under way.

        Returns the answer, ``{session, run}``, or what ``once`` has kept. Raises NotFound, Conflict
        where the session is closed or has used up a budget, SessionFull, what ``once`` raises, and what
        :meth:`Dispatcher.create` raises.
        """
        session = self.get(user, thread_id)
        prepared = self._prepare(user, thread_id, session.worker_id, session.config, new)
        if once is None and self._may_begin(session, new):
            with suppress(Conflict):  # the session has changed meanwhile, or why not is said below
                return self._send_at_once(user, session, prepared, new)

        def send(c: Connection) -> tuple[dict[str, Json], Session | None, runs.Created | None, Run | None]:
            before = once.begin(c) if once is not None else None
            if before is not None:
                return before, None, None, None
            session, created, steered = self._take(c, user, thread_id, new, prepared)
            run = created.runs[0] if created else steered
            assert run is not None
            answer: dict[str, Json] = {"session": session.encode(), "run": run.encode()}
            if once is not None:
                once.finish(c, answer)
            return answer, session, created, steered

        answer, after, created, steered = self._database.write(send)
        if after is not None:
            self._told(after, created)
        if steered is not None:
            after_commit(self._dispatcher.hint, steered)
        return answer

    def pause(self, user: User, thread_id: str) -> Session:
        """Let the turn end and none follow. Raises NotFound, and Conflict where it is closed."""
        return self._wish(user, thread_id, Wish.PAUSE)

    def stop(self, user: User, thread_id: str) -> Session:
        """Cancel the turn; none follows. Raises NotFound, and Conflict where it is closed."""
        session = self._wish(user, thread_id, Wish.STOP)
        if session.is_open and session.run_id is not None:
            self.follow(session.run_id)
            session = self.get(user, thread_id)
        return session

    def resume(self, user: User, thread_id: str, *, one_turn: bool = False) -> Session:
        """Begin the next turn where it has stopped: with what was sent meanwhile, or with the prompt.

        One that is to pause at the end of its turn goes on instead. ``one_turn``: it stops behind it.
        Raises NotFound, Conflict where it runs, waits, is closed or has used up a budget, and what
        :meth:`Dispatcher.create` raises.
        """
        session = self.get(user, thread_id)
        prepared = self._prepare(user, thread_id, session.worker_id, session.config)

        def resume(c: Connection) -> tuple[Session, runs.Created | None]:
            session = self._mine(c, user, thread_id)
            wish = Wish.STEP if one_turn else None
            if session.is_open and session.wish in (Wish.PAUSE, Wish.STEP) and not one_turn:
                return store.update(c, session, wish=None), None
            if session.status is not Status.STOP:
                raise Conflict(f"The session is {session.status}; only one that has stopped goes on.")
            left = self._left(c, session)
            self._refuse_spent(session, turns=not left)
            store.check_room(c, session, 0 if left else 1)
            begin = Step(Status.RUNNING, By.PERSON, user.id)
            before = _fresh(session) if left else replace(session, progress={})
            return self._begin(c, before, prepared, left, begin, wish=wish)

        session, created = self._database.write(resume)
        return self._told(session, created)

    def close(self, user: User, thread_id: str) -> Session:
        """End the session for good, and its turn. Raises NotFound, and Conflict where it is closed."""

        def close(c: Connection) -> tuple[Session, Session]:
            session = self._mine(c, user, thread_id)
            closing = Step(Status.CLOSED, By.PERSON, user.id, ends.reason(Reason.CLOSED, "It was closed."))
            if session.is_open:
                store.have_ended(c, session)
            return session, store.move(c, session, closing, held=None)

        before, closed = self._database.write(close)
        if before.is_open and before.run_id is not None:
            self.follow(before.run_id)
        return self._told(closed)

    # ── what follows ────────────────────────────────────────────────────────

    def follow(self, run_id: str, *, holds: bool = True) -> None:
        """Look at the session whose turn this run is, and has changed. Twice does no harm.

        ``holds``: whether the session says why its next turn cannot begin now, for a task is due again.
        Raises TooMany, WorkerUnavailable, WorkerElsewhere and Unavailable where the next turn cannot begin
        now.
        """
        turn = self._database.engine.query(store.turn, run_id)
        if turn is None:
            return
        session = turn.session
        if turn.run.finished_at is None and session.run_id == run_id and _is_to_end(session):
            self._dispatcher.cancel(None, run_id)
            turn = self._database.engine.query(store.turn, run_id) or turn
        prepared: Prepared | None = None
        refused: Exception | None = None
        if turn.result is not None:
            try:
                thread = session.thread_id if turn.thread.deleted_at else turn.thread
                prepared = self._prepare(turn.user, thread, session.worker_id, session.config)
            except (*_NO_ROOM, NotFound, Invalid, Conflict) as error:
                refused = error
        try:
            after, created = self._move_on(turn, prepared, refused)
        except _NO_ROOM as error:
            if holds:
                self._hold(session.id, run_id, str(error))
            raise
        # Also what another process has changed, which may have died before it could say so.
        after = after or self._database.read(store.find, session.id) or session
        if created is None or not self._dispatcher.announce(created, [events.session_updated(after)]):
            self._append(after)

    def look_after(self) -> None:
        """Follow turns whose change has left no task: a pool of a version before sessions has made it."""
        for_each(self._database.read(store.behind), self._follow_if_there_is_room)

    def _follow_if_there_is_room(self, run_id: str) -> None:
        with suppress(*_NO_ROOM):
            self.follow(run_id, holds=False)  # only a task says why a turn is held

    def thread_deleted(self, thread_id: str) -> None:
        """Close the session of a thread that was deleted."""

        def close(c: Connection) -> Session | None:
            session = store.of_thread(c, thread_id)
            if session is None or session.status is Status.CLOSED:
                return None
            why = ends.reason(Reason.THREAD_DELETED, "Its thread was deleted.")
            return store.move(c, session, Step(Status.CLOSED, By.SYSTEM, reason=why), held=None)

        self._database.write(close)

    def _move_on(
        self, turn: store.Turn, prepared: Prepared | None, refused: Exception | None
    ) -> tuple[Session | None, runs.Created | None]:
        """What has become of the session, and the turn that has begun; None where nothing has.

        Almost always a turn has ended whose session nobody changes meanwhile, so that is tried first,
        without a lock. Messages that were left of it must be locked to be taken.
        """
        if turn.result is not None and not turn.run.steered:
            with suppress(Conflict):
                return self._end(turn.session, turn.run, turn.result, prepared, refused)
        return self._database.write(self._follow, turn, prepared, refused)

    def _end(
        self,
        session: Session,
        run: Run,
        result: store.Result,
        prepared: Prepared | None,
        refused: Exception | None,
    ) -> tuple[Session, runs.Created | None]:
        """The turn has ended, and nothing was sent to it. Raises Conflict if its session has changed."""
        session, stop = self._decide(session, run, result, [], refused)
        if stop is None and prepared is not None:
            begin = self._plan(session, prepared, [], _ENDS, Step(Status.RUNNING, By.AUTO))
            return begin.at_once(prepared)
        assert stop is not None
        return self._database.engine.apply(self._stopping(session, stop)), None

    def _follow(
        self, c: Connection, turn: store.Turn, prepared: Prepared | None, refused: Exception | None
    ) -> tuple[Session | None, runs.Created | None]:
        """The same as :meth:`_move_on`, with the session locked."""
        session = store.lock(c, turn.session.id)
        run = turn.run if turn.run.finished_at else runs.find(c, turn.run.id)
        if session is None or run is None or session.run_id != run.id or not session.is_open:
            return None, None
        if run.finished_at is None:
            return self._note_question(c, session, run.status is RunStatus.WAITING), None
        if turn.run.finished_at is None:
            return None, None  # it has ended since: that has a task of its own
        left = self._left(c, session) if run.steered else []
        session, stop = self._decide(session, run, store.result(on(c), session, run), left, refused)
        if stop is None and prepared is not None:
            begin = Step(Status.RUNNING, By.PERSON if left else By.AUTO)
            return self._begin(c, session, prepared, left, _ENDS, begin)
        assert stop is not None
        return self._stopping(session, stop).make(c), None

    def _decide(
        self,
        session: Session,
        run: Run,
        result: store.Result,
        left: Sequence[NewMessage],
        refused: Exception | None,
    ) -> tuple[Session, ends.Why | None]:
        """The session after its turn, not stored yet, and why it stops; None: the next turn begins.

        Raises ``refused`` where one is to begin, and there is no room: later.
        """
        session, stop = ends.after_turn(session, run, result, self._prices, unread=bool(left))
        if stop is None and left:
            session = _fresh(session)
        elif stop is None:
            stop = ends.why_not_auto(session)
        if stop is None and refused is not None:
            if isinstance(refused, _NO_ROOM):
                raise refused
            stop = ends.reason(Reason.ERROR, str(refused))
        return session, stop

    @staticmethod
    def _stopping(session: Session, why: ends.Why) -> store.Move:
        values = {**ends.kept(session), "wish": None, "held": None}
        return store.plan(session, Step(Status.STOP, By.TURN, reason=why), **values)

    @staticmethod
    def _note_question(c: Connection, session: Session, waits: bool) -> Session | None:
        """The session once its turn waits, or goes on; None where it is so already."""
        if waits == (session.status is Status.WAITING):
            return None
        if not waits:
            return store.move(c, session, Step(Status.RUNNING, By.PERSON))
        used = budget.after_seconds(session.used, ends.seconds(session, pools.time(c)))
        return store.move(c, session, Step(Status.WAITING, By.TURN), used=used)

    def _begin(
        self,
        c: Connection,
        session: Session,
        prepared: Prepared,
        new: Sequence[NewMessage],
        *steps: Step,
        wish: Wish | None = None,
    ) -> tuple[Session, runs.Created]:
        """Begin a turn with these messages, or with the prompt where there are none.

        Those that were left of the turn before are among them, and have begun this one then.
        """
        begin = self._plan(session, prepared, new, *steps, wish=wish)
        created = begin.within(c, prepared)
        if new and session.run_id is not None:
            left = queued_messages.claim(c, session.run_id)
            if left:
                queued_messages.begin(c, left, created.runs[0].id)
        return begin.move.make(c), created

    def _plan(
        self,
        session: Session,
        prepared: Prepared,
        new: Sequence[NewMessage],
        *steps: Step,
        wish: Wish | None = None,
    ) -> _Begin:
        """The turn that is to begin with these messages, or with the prompt where there are none."""
        asked = new or [NewMessage(Role.USER, self._prompt(session), author=AUTO_AUTHOR)]
        size = windows.Size(
            session.window.get("k") or prepared.window_size(self._window),
            session.window.get("pinned_message_id"),
            session.window.get("summary") or prepared.summary_worker,
        )
        turn, run_id = session.turn + 1, new_id()
        begun = {**ends.kept(session), "turn": turn, "run_id": run_id, "wish": wish, "held": None}
        return _Begin(
            store.plan(session, *steps, **begun),
            asked,
            {"run_id": run_id, "session_id": session.id, "turn": turn, "window": size.encode()},
        )

    def _may_begin(self, session: Session, new: Sequence[NewMessage]) -> bool:
        """Whether messages begin a turn alone: none is under way, and nothing was left of the last one.

        Nothing can be left of it later, for a run that has ended takes no more. Messages that name
        files are looked at in the transaction that takes them.
        """
        if session.status not in (Status.INIT, Status.STOP) or files.ids_of(new):
            return False
        return session.run_id is None or not self._database.read(queued_messages.waiting, session.run_id)

    def _send_at_once(
        self, user: User, session: Session, prepared: Prepared, new: Sequence[NewMessage]
    ) -> dict[str, Json]:
        """Begin a turn with messages, without a lock. Raises Conflict if the session has changed."""
        self._refuse_spent(session)
        if session.limits.get(MAX_MESSAGES):
            self._database.read(store.check_room, session, len(new))
        begin = self._plan(_fresh(session), prepared, new, Step(Status.RUNNING, By.PERSON, user.id))
        after, created = begin.at_once(prepared)
        self._told(after, created)
        return {"session": after.encode(), "run": created.runs[0].encode()}

    def _take(
        self, c: Connection, user: User, thread_id: str, new: Sequence[NewMessage], prepared: Prepared
    ) -> tuple[Session, runs.Created | None, Run | None]:
        """Take a person's messages: the session, and the turn that they begin or wait for."""
        session = self._mine(c, user, thread_id)
        self._refuse_spent(session)
        run = runs.find(c, session.run_id) if session.run_id and session.is_open else None
        if run is not None and run.finished_at is None:
            try:
                steered, _ = queued_messages.add(c, user.workspace_id, run.id, new)
            except Conflict:
                run = runs.find(c, run.id)  # it has ended since
            else:
                store.check_room(c, session)
                fresh = _fresh(session)
                return store.update(c, session, used=fresh.used, progress={}), None, steered
        begin = Step(Status.RUNNING, By.PERSON, user.id)
        steps = [begin]
        if run is not None:
            found = store.result(on(c), session, run)
            session, _ = ends.after_turn(session, run, found, self._prices, unread=False)
            self._refuse_spent(session)
            steps = [_ENDS, begin]
        store.check_room(c, session, len(new))
        left = self._left(c, session)
        begun, created = self._begin(c, _fresh(session), prepared, [*left, *new], *steps)
        return begun, created, None

    def _left(self, c: Connection, session: Session) -> list[NewMessage]:
        """What was sent to the last turn, and nobody has read."""
        if session.run_id is None:
            return []
        return [queued_messages.as_new(left) for left in queued_messages.claim(c, session.run_id)]

    def _wish(self, user: User, thread_id: str, wish: Wish) -> Session:
        def note(c: Connection) -> Session:
            session = self._mine(c, user, thread_id)
            if not session.is_open:
                return session
            if wish is Wish.STOP:
                store.have_ended(c, session)
            return store.update(c, session, wish=wish)

        return self._told(self._database.write(note))

    def _hold(self, session_id: str, run_id: str, why: str) -> None:
        """Say why the next turn has not begun."""

        def hold(c: Connection) -> Session | None:
            session = store.lock(c, session_id)
            if session is None or session.run_id != run_id or session.held == why or not session.is_open:
                return None
            return store.update(c, session, held=why)

        held = self._database.write(hold)
        if held is not None:
            self._tell(held)

    def _mine(self, c: Connection, user: User, thread_id: str) -> Session:
        """The session, locked. Raises NotFound, and Conflict where it is closed."""
        session = store.get(c, user.workspace_id, thread_id, lock=True)
        if session.status is Status.CLOSED:
            raise Conflict("The session is closed.")
        return session

    @staticmethod
    def _refuse_spent(session: Session, *, turns: bool = False) -> None:
        spent = budget.exceeded(session.limits, session.used, turns=turns)
        if spent is not None:
            raise Conflict(f"{spent[1]} Raise the limit, and go on.")

    def _prompt(self, session: Session) -> str:
        return str(session.auto.get("prompt") or self._settings.prompt)

    def _prepare(
        self,
        user: User,
        thread: str | Thread,
        worker_id: str | None,
        config: Mapping[str, Json] | None,
        new: Sequence[NewMessage] = (),
    ) -> Prepared:
        request = RunRequest(worker_id=worker_id, config=config, messages=new)
        return self._dispatcher.prepare(user, thread, request)

    def _check_window(self, user: User, thread_id: str, window: Mapping[str, Json] | None) -> None:
        """Raises Invalid where no worker can sum up what it leaves out, and NotFound."""
        worker_id = (window or {}).get("summary")
        if worker_id is None:
            return
        try:
            self._prepare(user, thread_id, worker_id, {})
        except Invalid as error:
            wrong = FieldError(("window", "summary"), "cannot sum up: " + str(error))
            raise Invalid(str(error), [wrong]) from error

    def _told(self, session: Session, created: runs.Created | None = None) -> Session:
        if created is not None:
            after_commit(self._dispatcher.announce, created)
        after_commit(self._tell, session)
        return session

    def _tell(self, session: Session) -> None:
        """Append the session to the log of its thread. What is missed there, a snapshot has."""
        with suppress(StreamUnavailable):
            self._append(session)

    def _append(self, session: Session) -> None:
        """The same. Once is once, however often it is done. Raises StreamUnavailable."""
        event: Event = events.session_updated(session)
        hint = Hint(session.workspace_id, {"type": event.type, "thread_id": session.thread_id})
        with suppress(StaleAttempt):
            self._log.announce(session.thread_id, None, 0, [event], hint)
