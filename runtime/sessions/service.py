"""What a person may do with a session, and what follows a turn.

Each change is one transaction that has locked the session. A run is begun in it, too, so that a turn
is begun once; to announce and to publish it comes after the commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
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
    WorkerUnavailable,
)
from runtime.events import Event
from runtime.model import Json, Role, Run, RunStatus, Thread, User
from runtime.sessions import budget, events, progress, store
from runtime.sessions.model import By, Reason, Session, Status, Wish
from runtime.sessions.store import Step
from runtime.settings import Settings
from runtime.store import (
    Connection,
    Database,
    messages,
    pools,
    queued_messages,
    requests,
    runs,
    threads,
    windows,
)
from runtime.store.states import NewMessage
from runtime.stream import EventLog, Hint

AUTO_AUTHOR = "auto"
"""The author of a prompt that nobody has written."""
CONTEXT = "context"
"""In the data of a message: the arguments of the turn that it begins."""
LIMITS = (Reason.MAX_TURNS, Reason.MAX_SECONDS, Reason.MAX_TOKENS, Reason.MAX_COST)
_OPEN = (Status.RUNNING, Status.WAITING)


def _reason(code: Reason, message: str) -> Mapping[str, Json]:
    return {"code": code, "message": message}


def _kept(session: Session) -> dict[str, Any]:
    """What a session keeps of a turn that has ended."""
    names = ("used", "progress", "tip_state_id", "tip_is_set")
    return {name: getattr(session, name) for name in names}


def _fresh(session: Session) -> Session:
    """The session after a message of a person."""
    return replace(session, used={**session.used, "turns": 0}, progress={})


def _seconds(session: Session, until: datetime | None) -> float:
    """For how long it has been running."""
    since = session.running_since
    return max(0.0, (until - since).total_seconds()) if since and until else 0.0


def _is_to_end(session: Session) -> bool:
    """Whether its turn is to be cancelled."""
    return session.status is Status.CLOSED or (session.status in _OPEN and session.wish is Wish.STOP)


_WISHED = {
    Wish.PAUSE: _reason(Reason.PAUSED, "It was paused."),
    Wish.STEP: _reason(Reason.STEPPED, "It was to take one step."),
    Wish.STOP: _reason(Reason.STOPPED, "Its turn was stopped."),
}
_TURN_ENDED = _reason(Reason.TURN_ENDED, "The turn has ended.")
_ENDS = Step(Status.STOP, By.TURN, reason=_TURN_ENDED)


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
                values |= {"tip_state_id": tip, "tip_is_set": session.status in _OPEN}
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
        where the session is closed or has used up a budget, what ``once`` raises, and what
        :meth:`Dispatcher.create` raises.
        """
        session = self.get(user, thread_id)
        prepared = self._prepare(user, thread_id, session.worker_id, session.config, new)

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
        if session.status in _OPEN and session.run_id is not None:
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
            if session.status in _OPEN and session.wish in (Wish.PAUSE, Wish.STEP) and not one_turn:
                return store.update(c, session, wish=None), None
            if session.status is not Status.STOP:
                raise Conflict(f"The session is {session.status}; only one that has stopped goes on.")
            left = self._left(c, session)
            self._refuse_spent(session, turns=not left)
            begin = Step(Status.RUNNING, By.PERSON, user.id)
            before = _fresh(session) if left else replace(session, progress={})
            return self._begin(c, before, prepared, left, begin, wish=wish)

        session, created = self._database.write(resume)
        return self._told(session, created)

    def close(self, user: User, thread_id: str) -> Session:
        """End the session for good, and its turn. Raises NotFound, and Conflict where it is closed."""

        def close(c: Connection) -> tuple[Session, Session]:
            session = self._mine(c, user, thread_id)
            closing = Step(Status.CLOSED, By.PERSON, user.id, _reason(Reason.CLOSED, "It was closed."))
            if session.status in _OPEN:
                store.have_ended(c, session)
            return session, store.move(c, session, closing)

        before, closed = self._database.write(close)
        if before.status in _OPEN and before.run_id is not None:
            self.follow(before.run_id)
        return self._told(closed)

    # ── what follows ────────────────────────────────────────────────────────

    def follow(self, run_id: str) -> None:
        """Look at the session whose turn this run is, and has changed. Twice does no harm.

        Raises TooMany, WorkerUnavailable and Unavailable where the next turn cannot begin now.
        """
        turn = self._database.read(store.turn, run_id)
        if turn is None:
            return
        session = turn.session
        if turn.run.finished_at is None and session.run_id == run_id and _is_to_end(session):
            self._dispatcher.cancel(None, run_id)
            turn = self._database.read(store.turn, run_id) or turn
        prepared: Prepared | None = None
        refused: Exception | None = None
        if turn.run.finished_at is not None and session.run_id == run_id and session.status in _OPEN:
            try:
                thread = session.thread_id if turn.thread.deleted_at else turn.thread
                prepared = self._prepare(turn.user, thread, session.worker_id, session.config)
            except (TooMany, WorkerUnavailable, NotFound, Invalid, Conflict) as error:
                refused = error
        try:
            after, created = self._database.write(self._follow, turn, prepared, refused)
        except (TooMany, WorkerUnavailable) as error:
            self._hold(session.id, run_id, str(error))
            raise
        if created is not None:
            self._dispatcher.announce(created)
        # Also what another process has changed, which may have died before it could say so.
        self._append(after or self._database.read(store.find, session.id) or session)

    def look_after(self) -> None:
        """Follow turns whose change has left no task: a pool of a version before sessions has made it."""
        for_each(self._database.read(store.behind), self._follow_if_there_is_room)

    def _follow_if_there_is_room(self, run_id: str) -> None:
        with suppress(TooMany, WorkerUnavailable):
            self.follow(run_id)

    def thread_deleted(self, thread_id: str) -> None:
        """Close the session of a thread that was deleted."""

        def close(c: Connection) -> Session | None:
            session = store.of_thread(c, thread_id)
            if session is None or session.status is Status.CLOSED:
                return None
            why = _reason(Reason.THREAD_DELETED, "Its thread was deleted.")
            return store.move(c, session, Step(Status.CLOSED, By.SYSTEM, reason=why))

        self._database.write(close)

    def _follow(
        self, c: Connection, turn: store.Turn, prepared: Prepared | None, refused: Exception | None
    ) -> tuple[Session | None, runs.Created | None]:
        """What has become of the session, and the turn that has begun; None where nothing has."""
        session = store.lock(c, turn.session.id)
        run = turn.run if turn.run.finished_at else runs.find(c, turn.run.id)
        if session is None or run is None or session.run_id != run.id or session.status not in _OPEN:
            return None, None
        if run.finished_at is None:
            return self._note_question(c, session, run.status is RunStatus.WAITING), None
        if turn.run.finished_at is None:
            return None, None  # it has ended since: that has a task of its own
        session, stop = self._end_turn(c, session, run)
        left = self._left(c, session) if stop is None and run.steered else []
        if left:
            session = _fresh(session)
        elif stop is None:
            stop = self._why_not_auto(session)
        if stop is None and refused is not None:
            if isinstance(refused, TooMany | WorkerUnavailable):
                raise refused  # it is to go on, and there is no room: later
            stop = _reason(Reason.ERROR, str(refused))
        if stop is None and prepared is not None:
            begin = Step(Status.RUNNING, By.PERSON if left else By.AUTO)
            return self._begin(c, session, prepared, left, _ENDS, begin)
        assert stop is not None
        values = {**_kept(session), "wish": None, "held": None}
        return store.move(c, session, Step(Status.STOP, By.TURN, reason=stop), **values), None

    @staticmethod
    def _note_question(c: Connection, session: Session, waits: bool) -> Session | None:
        """The session once its turn waits, or goes on; None where it is so already."""
        if waits == (session.status is Status.WAITING):
            return None
        if not waits:
            return store.move(c, session, Step(Status.RUNNING, By.PERSON))
        used = budget.after_seconds(session.used, _seconds(session, pools.time(c)))
        return store.move(c, session, Step(Status.WAITING, By.TURN), used=used)

    def _end_turn(
        self, c: Connection, session: Session, run: Run
    ) -> tuple[Session, Mapping[str, Json] | None]:
        """The session with what the turn has used, said and left, not stored yet; and why it stops."""
        used = budget.after_turn(
            budget.after_seconds(session.used, _seconds(session, run.finished_at)),
            [(run.config, run.usage), *store.below(c, run)],
            self._prices,
            says_all=run.status is RunStatus.SUCCESS,
        )
        goes_on = bool(session.auto.get("enabled"))
        said = messages.of_state(c, run.output_state_id) if goes_on else []
        remembered, no_progress = progress.after_turn(session.progress, said)
        tip = session.tip_state_id if session.tip_is_set else run.output_state_id
        after = replace(session, used=used, progress=remembered, tip_state_id=tip, tip_is_set=False)
        if run.status is RunStatus.CANCELLED:
            return after, _WISHED[Wish.STOP]
        if run.status is not RunStatus.SUCCESS:
            why = run.error.message if run.error else f"The run ended: {run.status}."
            return after, _reason(Reason.ERROR, why)
        if session.wish is not None:
            return after, _WISHED[session.wish]
        spent = budget.exceeded(session.limits, used, turns=False)
        if spent is not None:
            return after, _reason(*spent)
        if run.steered and queued_messages.waiting(c, run.id):
            return after, None
        if run.finish_reason is not None:
            return after, _reason(Reason.FINISHED, run.finish_reason or "The goal is reached.")
        if goes_on and no_progress:
            return after, _reason(Reason.NO_PROGRESS, no_progress)
        return after, None

    @staticmethod
    def _why_not_auto(session: Session) -> Mapping[str, Json] | None:
        if not session.auto.get("enabled"):
            return _TURN_ENDED
        spent = budget.exceeded(session.limits, session.used, turns=True)
        if spent is not None:
            return _reason(*spent)
        unknown = budget.unknown(session.limits, session.used)
        return _reason(Reason.UNKNOWN_FIGURE, unknown) if unknown else None

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
        asked = new or [NewMessage(Role.USER, self._prompt(session), author=AUTO_AUTHOR)]
        pinned = session.window.get("pinned_message_id")
        size = windows.Size(
            session.window.get("k") or prepared.window_size(self._window),
            pinned,
            session.window.get("summary") or prepared.summary_worker,
        )
        of_session: OfSession = {
            "session_id": session.id,
            "turn": session.turn + 1,
            "window": size.encode(),
        }
        args = asked[-1].data.get(CONTEXT)
        created = prepared.queue(c, session.tip_state_id, asked, args=args, **of_session)
        run = created.runs[0]
        if new and session.run_id is not None:
            left = queued_messages.claim(c, session.run_id)
            if left:
                queued_messages.begin(c, left, run.id)
        begun = {"turn": session.turn + 1, "run_id": run.id, "wish": wish, "held": None}
        return store.move(c, session, *steps, **_kept(session), **begun), created

    def _take(
        self, c: Connection, user: User, thread_id: str, new: Sequence[NewMessage], prepared: Prepared
    ) -> tuple[Session, runs.Created | None, Run | None]:
        """Take a person's messages: the session, and the turn that they begin or wait for."""
        session = self._mine(c, user, thread_id)
        self._refuse_spent(session)
        run = runs.find(c, session.run_id) if session.run_id and session.status in _OPEN else None
        if run is not None and run.finished_at is None:
            try:
                steered, _ = queued_messages.add(c, user.workspace_id, run.id, new)
            except Conflict:
                run = runs.find(c, run.id)  # it has ended since
            else:
                fresh = _fresh(session)
                return store.update(c, session, used=fresh.used, progress={}), None, steered
        begin = Step(Status.RUNNING, By.PERSON, user.id)
        steps = [begin]
        if run is not None:
            session, _ = self._end_turn(c, session, run)
            self._refuse_spent(session)
            steps = [_ENDS, begin]
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
            if session.status not in _OPEN:
                return session
            if wish is Wish.STOP:
                store.have_ended(c, session)
            return store.update(c, session, wish=wish)

        return self._told(self._database.write(note))

    def _hold(self, session_id: str, run_id: str, why: str) -> None:
        """Say why the next turn has not begun."""

        def hold(c: Connection) -> Session | None:
            session = store.lock(c, session_id)
            if session is None or session.run_id != run_id or session.held == why:
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
