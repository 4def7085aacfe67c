"""The life of a run in the database, on both kinds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from runtime.errors import Conflict, NotFound, StaleAttempt, TooMany, TooMuchSaved
from runtime.model import Message, MessageStatus, Role, Run, RunError, RunStatus, Thread, User, new_id
from runtime.store import (
    Database,
    attempts,
    backlog,
    figures,
    messages,
    pools,
    recovery,
    runs,
    saved_values,
    states,
    threads,
    users,
)
from runtime.store.saved_values import SavedValue

LEASE = 10.0
POOL = "python@here-1"
ORDER = runs.RunSpec("echo", "digest", "python", {"a": 1}, {"b": 2}, max_attempts=3, timeout_seconds=60)
FAILED = RunError("worker_error", "Busy.", retryable=True, log_tail="trace")
HISTORY = {"": 200}


@pytest.fixture
def user(database: Database) -> User:
    return database.write(users.register, email="ann@example.com", password_hash="x")


@pytest.fixture
def thread(database: Database, user: User) -> Thread:
    return database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)


@pytest.fixture
def make(database: Database, user: User, thread: Thread) -> Callable[..., runs.Created]:
    def make(order: runs.RunSpec = ORDER, text: str = "hello", user: User = user) -> runs.Created:
        def create(c):
            queue = backlog.queue_stats(c, order.pool, user.id, LEASE)
            said = [states.NewMessage(Role.USER, text)] if text else []
            published = queue.room >= order.count
            return runs.create(c, thread, user.id, thread.root_state_id, said, order, published=published)

        return database.write(create)

    return make


def claim(database: Database, run: Run, lease: float = LEASE) -> attempts.Claim:
    claimed = database.engine.claim(run.id, POOL, lease, HISTORY)
    assert claimed is not None
    return claimed


def answer(run: Run, text: str = "hi", status: MessageStatus = MessageStatus.COMPLETE) -> Message:
    return Message(
        id=new_id(),
        state_id=run.output_state_id,
        position=0,
        role=Role.ASSISTANT,
        content=text,
        status=status,
        run_id=run.id,
        attempt=run.attempt,
    )


def test_runs_side_by_side_fill_sibling_states(database, make):
    created = make(replace(ORDER, count=3))

    assert [state.run_id for state in created.states] == [run.id for run in created.runs]
    assert [state.ordinal for state in created.states] == [0, 1, 2]
    assert {state.parent_id for state in created.states} == {created.input_state.id}
    assert {run.status for run in created.runs} == {RunStatus.QUEUED}


def test_a_run_is_claimed_once_and_given_the_path_to_its_input(database, make):
    [run] = make().runs

    first = claim(database, run)

    assert first.run.status is RunStatus.RUNNING
    assert first.run.attempt == 1
    assert [message.content for message in first.messages] == ["hello"]
    assert database.engine.claim(run.id, POOL, LEASE, HISTORY) is None


def test_a_claim_notes_what_keeps_the_run_in_its_place(database, make):
    known, unknown = make().runs[0], make().runs[0]
    in_force = {"level": "standard", "in_force": ["files"]}
    sandboxes = json.dumps({known.worker_id: in_force})

    claimed = database.engine.claim(known.id, POOL, LEASE, HISTORY, sandboxes=sandboxes)
    other = database.engine.claim(unknown.id, POOL, LEASE, HISTORY, sandboxes='{"another": {}}')

    assert claimed.run.sandbox == in_force
    assert database.engine.get_run(known.workspace_id, known.id).encode()["sandbox"] == in_force
    assert other.run.sandbox is None


def test_the_end_is_committed_with_all_that_the_attempt_left(database, make):
    [run] = make().runs
    running = claim(database, run).run
    left = attempts.AttemptResult(
        [answer(running)], [(1, "thinking", 2.0)], "warned\n", usage={"output_tokens": 2}
    )

    ended = database.engine.finish(running, RunStatus.SUCCESS, left)

    assert (ended.status, ended.usage, ended.lease_until) == (RunStatus.SUCCESS, {"output_tokens": 2}, None)
    assert ended.finished_at is not None
    assert [m.content for m in database.read(messages.of_state, run.output_state_id)] == ["hi"]
    assert database.read(runs.logs, run.id) == [{"attempt": 1, "text": "warned\n", "truncated": False}]
    (step,) = database.read(runs.steps, run.id)
    assert step["description"] == "thinking"
    assert 1.5 < (ended.finished_at - step["at"]).total_seconds() < 3


def test_the_first_delta_is_that_of_the_text_that_stands(database, user, make):
    # Negative, and so in the future: nothing of that can be mixed up with the moment of the test.
    running = claim(database, make().runs[0]).run
    database.write(attempts.retry, running, -1.0, FAILED, attempts.AttemptResult(first_delta=-90.0))
    assert first_deltas(database) == (0, 0)

    running = claim(database, running).run
    asked = {"id": "q1", "message_id": new_id(), "options": []}
    database.write(attempts.wait, running, asked, attempts.AttemptResult(first_delta=-40.0))
    running = claim(database, database.write(runs.answer, user.workspace_id, running.id, "q1", "yes")).run
    database.engine.finish(running, RunStatus.SUCCESS, attempts.AttemptResult(first_delta=-60.0))

    running = claim(database, make().runs[0]).run
    database.engine.finish(running, RunStatus.SUCCESS, attempts.AttemptResult(first_delta=-20.0))
    running = claim(database, make().runs[0]).run
    database.engine.finish(running, RunStatus.SUCCESS, attempts.AttemptResult())

    assert first_deltas(database) == (1, 2)


def first_deltas(database: Database) -> tuple[int, int]:
    """How many first deltas came within half a minute, and in all."""
    [found] = database.snapshot(figures.find).values()
    return found.first_deltas.within[figures.BOUNDS.index(30)], found.first_deltas.within[-1]


def test_an_attempt_that_was_taken_over_writes_nothing(database, make):
    [run] = make().runs
    zombie = claim(database, run, lease=-1).run
    [lost] = database.read(recovery.expired)
    database.write(recovery.take_over, lost, [], 0, "Lost.")
    second = claim(database, run).run

    for write in (
        lambda c: attempts.finish(c, zombie, RunStatus.SUCCESS, attempts.AttemptResult([answer(zombie)])),
        lambda c: attempts.save_messages(c, zombie, [answer(zombie)]),
        lambda c: attempts.retry(c, zombie, 0, FAILED, attempts.AttemptResult()),
        lambda c: attempts.assert_current(c, zombie),
    ):
        with pytest.raises(StaleAttempt):
            database.write(write)

    assert second.attempt == 2
    assert database.read(messages.of_state, run.output_state_id) == []


@pytest.mark.parametrize("lost", [False, True])
def test_only_a_run_that_was_lost_makes_its_last_attempt_apart(database, make, lost):
    [run] = make(replace(ORDER, max_attempts=2)).runs
    first = claim(database, run).run
    again = database.write(lambda c: attempts.retry(c, first, 0, FAILED, attempts.AttemptResult(), lost=lost))

    assert (again.status, again.failures) == (RunStatus.QUEUED, 1)
    assert bool(database.read(attempts.needs_isolation, run.id)) is lost
    assert (database.engine.claim(run.id, POOL, LEASE, HISTORY) is None) is lost


def test_renewing_keeps_the_lease_saves_open_text_and_tells_what_is_lost_or_cancelled(database, user, make):
    held, cancelled, lost = (claim(database, make().runs[0], lease=5).run for _ in range(3))
    database.write(runs.cancel, user.workspace_id, cancelled.id)
    text = answer(held, "half an ans", MessageStatus.PARTIAL)

    renewed = database.write(
        attempts.renew,
        POOL,
        [
            attempts.HeldLease(held.id, 1, [text]),
            attempts.HeldLease(cancelled.id, 1),
            attempts.HeldLease(lost.id, 7, [answer(lost, "zombie")]),
        ],
        LEASE,
    )

    assert renewed == attempts.Renewed([lost.id], [cancelled.id])
    assert [m.content for m in database.read(messages.of_state, held.output_state_id)] == ["half an ans"]
    assert database.read(messages.of_state, lost.output_state_id) == []
    before, after = held.lease_until, database.read(runs.find, held.id).lease_until
    assert after > before


def test_text_that_was_saved_while_open_is_replaced_by_its_final_form(database, make):
    running = claim(database, make().runs[0]).run
    text = answer(running, "half", MessageStatus.PARTIAL)
    database.write(attempts.renew, POOL, [attempts.HeldLease(running.id, 1, [text])], LEASE)

    whole = replace(text, content="half and half", status=MessageStatus.COMPLETE)
    database.engine.finish(running, RunStatus.SUCCESS, attempts.AttemptResult([whole]))

    [stored] = database.read(messages.of_state, running.output_state_id)
    assert (stored.content, stored.status) == ("half and half", MessageStatus.COMPLETE)


def test_a_lost_attempt_is_tried_again_and_its_text_is_void_but_kept(database, make):
    [run] = make().runs
    claim(database, run, lease=-1)
    [lost] = database.read(recovery.expired)

    verdict = database.write(
        recovery.take_over, lost, [answer(lost, "half", MessageStatus.PARTIAL)], 0, "Lost."
    )

    assert verdict.retried
    assert (verdict.run.status, verdict.run.failures) == (RunStatus.QUEUED, 1)
    assert database.read(messages.of_state, run.output_state_id) == []
    kept = database.read(messages.of_attempts, run.id, run.output_state_id)
    assert [m.content for m in kept[1]] == ["half"]


def test_the_last_attempt_is_made_in_a_cell_once_one_was_lost(database, make):
    [run] = make(replace(ORDER, max_attempts=2)).runs
    claim(database, run, lease=-1)
    [lost] = database.read(recovery.expired)
    database.write(recovery.take_over, lost, [], 0, "Lost.")

    assert database.read(attempts.needs_isolation, run.id)
    assert database.engine.claim(run.id, POOL, LEASE, HISTORY) is None
    assert database.engine.claim(run.id, POOL, LEASE, HISTORY, isolated=True).run.attempt == 2
    assert not database.read(attempts.needs_isolation, run.id)


def test_the_last_attempt_of_a_run_that_only_its_worker_failed_needs_no_cell(database, make):
    [run] = make(replace(ORDER, max_attempts=2)).runs
    database.write(attempts.retry, claim(database, run).run, 0, FAILED, attempts.AttemptResult())

    assert not database.read(attempts.needs_isolation, run.id)
    assert claim(database, run).run.attempt == 2


def test_a_run_that_is_lost_too_often_ends_as_error_and_keeps_its_text(database, make):
    [run] = make(replace(ORDER, max_attempts=1)).runs
    claim(database, run, lease=-1)
    [lost] = database.read(recovery.expired)

    verdict = database.write(
        recovery.take_over, lost, [answer(lost, "half", MessageStatus.PARTIAL)], 0, "Lost."
    )

    assert (verdict.run.status, verdict.run.error.code) == (RunStatus.ERROR, "lost")
    assert verdict.run.attempt == 2, "the reaper's own write is fenced as well"
    [kept] = database.read(messages.of_state, run.output_state_id)
    assert (kept.content, kept.status) == ("half", MessageStatus.PARTIAL)


def test_text_that_the_log_has_less_of_than_the_database_is_not_rescued(database, make):
    [run] = make(replace(ORDER, max_attempts=1)).runs
    claim(database, run, lease=-1)
    [lost] = database.read(recovery.expired)
    saved = answer(lost, "half and more", MessageStatus.PARTIAL)
    database.write(attempts.save_messages, lost, [saved])

    database.write(recovery.take_over, lost, [replace(saved, content="half")], 0, "Lost.")

    [kept] = database.read(messages.of_state, run.output_state_id)
    assert kept.content == "half and more"


def test_a_lost_run_that_was_to_be_cancelled_is_not_tried_again(database, user, make):
    [run] = make().runs
    claim(database, run, lease=-1)
    database.write(runs.cancel, user.workspace_id, run.id)
    [lost] = database.read(recovery.expired)

    assert database.write(recovery.take_over, lost, [], 0, "Lost.").run.status is RunStatus.CANCELLED


def test_a_lease_that_was_renewed_meanwhile_is_not_taken_over(database, make):
    [run] = make().runs
    claim(database, run, lease=-1)
    [lost] = database.read(recovery.expired)
    database.write(attempts.renew, POOL, [attempts.HeldLease(run.id, 1)], LEASE)

    assert database.write(recovery.take_over, lost, [], 0, "Lost.") is None


def test_the_runs_of_a_dead_pool_process_can_be_taken_over_at_once(database, make):
    [run] = make().runs
    claim(database, run)
    assert database.read(recovery.expired) == []

    assert database.write(recovery.release, POOL) == 1
    assert [lost.id for lost in database.read(recovery.expired)] == [run.id]


def test_handing_back_costs_no_attempt(database, make):
    running = claim(database, make().runs[0]).run

    back = database.write(attempts.hand_back, running, attempts.AttemptResult())

    assert (back.status, back.failures) == (RunStatus.QUEUED, 0)
    assert claim(database, back).run.attempt == 2


def test_a_retry_waits_for_its_backoff(database, make):
    running = claim(database, make().runs[0]).run

    again = database.write(attempts.retry, running, 60.0, FAILED, attempts.AttemptResult())

    assert database.engine.claim(running.id, POOL, LEASE, HISTORY) is None
    assert 50 < database.read(backlog.explain_wait, again, LEASE).retry_after <= 60


def test_a_run_that_is_tried_again_says_why_the_attempt_before_failed(database, make):
    [run] = make().runs
    way = {"error": None, "last_failure": FAILED.encode()}
    failed = database.write(attempts.retry, claim(database, run).run, 0, FAILED, attempts.AttemptResult())
    assert way.items() <= failed.encode().items()
    assert way.items() <= claim(database, run, lease=-1).run.encode().items()

    [lost] = database.read(recovery.expired)
    database.write(recovery.take_over, lost, [], 0, "Lost.")
    assert database.engine.get_run(run.workspace_id, run.id).last_failure == RunError("lost", "Lost.")


def test_an_attempt_that_asks_or_is_handed_back_has_not_failed(database, make):
    ways = (
        lambda c, run: attempts.wait(c, run, {"id": "q"}, attempts.AttemptResult()),
        lambda c, run: attempts.hand_back(c, run, attempts.AttemptResult()),
    )
    for way in ways:
        [run] = make().runs
        database.write(attempts.retry, claim(database, run).run, 0, FAILED, attempts.AttemptResult())
        assert database.write(way, claim(database, run).run).last_failure is None


def test_cancelling_ends_what_waits_and_asks_what_runs(database, user, make):
    queued, running = make().runs[0], claim(database, make().runs[0]).run

    ended = database.write(runs.cancel, user.workspace_id, queued.id).run
    asked = database.write(runs.cancel, user.workspace_id, running.id).run

    assert ended.status is RunStatus.CANCELLED
    assert asked.status is RunStatus.RUNNING
    assert asked.cancel_requested_at is not None
    assert database.engine.claim(queued.id, POOL, LEASE, HISTORY) is None
    again = database.write(runs.cancel, user.workspace_id, queued.id)
    assert again == runs.Cancelled(ended, changed=False), "cancelling twice changes nothing"


def test_another_workspace_can_neither_see_nor_cancel(database, make):
    stranger = database.write(users.register, email="eve@example.com", password_hash="x")
    [run] = make().runs

    for reach in (runs.get, runs.cancel):
        with pytest.raises(NotFound):
            database.write(reach, stranger.workspace_id, run.id)
    with pytest.raises(NotFound):
        database.write(runs.answer, stranger.workspace_id, run.id, None, "yes")


def test_a_waiting_run_goes_on_with_its_answer_and_what_it_wrote_before(database, user, make):
    running = claim(database, make().runs[0]).run
    question = answer(running, "Really?")
    asked = {"id": "q1", "message_id": question.id, "options": ["yes"]}
    database.write(attempts.wait, running, asked, attempts.AttemptResult([question]))

    with pytest.raises(Conflict):
        database.write(runs.answer, user.workspace_id, running.id, "another", "yes")
    queued = database.write(runs.answer, user.workspace_id, running.id, "q1", "yes")
    following = claim(database, queued)

    assert following.run.answers == ({"confirmation_id": "q1", "answer": "yes", "attempt": 1},)
    assert [m.data["answer"] for m in following.earlier] == ["yes"]
    with pytest.raises(Conflict):
        database.write(runs.answer, user.workspace_id, running.id, "q1", "yes")


def test_no_more_than_the_slots_are_published_the_rest_waits_in_the_database(database, make):
    assert not make().published, "no pool has been seen"
    database.write(pools.report, "python", POOL, 2, {})

    created = [make() for _ in range(5)]

    assert [c.published for c in created] == [False] * 5, "an older run waits"
    assert len(database.engine.claim_for_publish("python", LEASE)) == 2
    assert database.engine.claim_for_publish("python", LEASE) == []


def test_the_backlog_is_fair_between_users(database, thread, make):
    busy = [make().runs[0] for _ in range(6)]
    database.write(pools.report, "python", POOL, 2, {})
    other = database.write(users.register, email="bob@example.com", password_hash="x")
    [single] = make(user=other).runs

    taken = [ticket.run_id for ticket in database.engine.claim_for_publish("python", LEASE)]

    assert taken == [busy[0].id, single.id]


def test_a_published_run_that_nobody_claimed_goes_back_to_the_backlog(database, make):
    database.write(pools.report, "python", POOL, 2, {})
    [run] = make().runs

    assert database.write(backlog.forget_unclaimed, 60.0, LEASE) == 0, "it may still be on its way"
    assert database.write(backlog.forget_unclaimed, -1.0, LEASE) == 1
    assert [ticket.run_id for ticket in database.engine.claim_for_publish("python", LEASE)] == [run.id]


def test_a_user_may_not_queue_without_end(database, user, make):
    make(replace(ORDER, count=3))

    queue = database.read(backlog.queue_stats, "python", user.id, LEASE)

    with pytest.raises(TooMany):
        runs.admit(queue, "python", 1, runs.QueueLimits(per_user=3))
    with pytest.raises(TooMany):
        runs.admit(queue, "python", 1, runs.QueueLimits(per_pool=3))
    runs.admit(queue, "python", 1, runs.QueueLimits(4, 4))


def test_an_end_is_announced_until_it_is_marked(database, make):
    running = claim(database, make().runs[0]).run
    error = RunError("worker_error", "No.", log_tail="trace")
    database.engine.finish(running, RunStatus.ERROR, attempts.AttemptResult(), error=error)

    assert [run.error for run in database.read(recovery.unannounced, -1)] == [error]
    database.write(recovery.mark_announced, [running.id])
    assert database.read(recovery.unannounced, -1) == []


def test_a_run_that_cannot_be_claimed_ends_with_the_reason(database, make):
    [run] = make().runs

    database.write(attempts.refuse, run.id, RunError("start_failed", "No."))

    [ended] = database.read(recovery.unannounced, -1)
    assert (ended.id, ended.status, ended.error.message) == (run.id, RunStatus.ERROR, "No.")
    assert database.engine.claim(run.id, POOL, LEASE, HISTORY) is None


def test_what_an_attempt_saves_is_given_to_the_next_one(database, make):
    [run] = make().runs
    first = claim(database, run)
    value = SavedValue("plan#1", '"\\u0000 \\ud800"', "digest")

    assert database.write(saved_values.save, first.run, value, {"tokens": 3}) == value
    database.write(saved_values.save, first.run, SavedValue("more", "1"))
    database.write(lambda c: attempts.hand_back(c, first.run, attempts.AttemptResult()))
    second = claim(database, run)

    assert first.saved == []
    assert sorted(second.saved, key=lambda saved: saved.key) == [SavedValue("more", "1"), value]
    assert second.run.usage == {"tokens": 3}


def test_the_first_value_of_a_key_counts_and_a_superseded_attempt_saves_nothing(database, make):
    [run] = make().runs
    first = claim(database, run).run
    database.write(saved_values.save, first, SavedValue("plan", "1"))

    assert database.write(saved_values.save, first, SavedValue("plan", "2", "d")) == SavedValue("plan", "1")
    database.write(lambda c: attempts.hand_back(c, first, attempts.AttemptResult()))
    second = claim(database, run).run
    for key in ("plan", "other"):
        with pytest.raises(StaleAttempt):
            database.write(saved_values.save, first, SavedValue(key, "3"))
    assert database.write(saved_values.save, second, SavedValue("plan", "4")) == SavedValue("plan", "1")


def test_a_run_saves_16_mib_and_nothing_once_it_has_ended(database, make):
    [run] = make().runs
    running = claim(database, run).run
    megabyte = json.dumps("x" * (1 << 20))
    for number in range(15):
        database.write(saved_values.save, running, SavedValue(str(number), megabyte))

    with pytest.raises(TooMuchSaved):
        database.write(saved_values.save, running, SavedValue("15", megabyte))
    database.write(saved_values.forget)
    assert len(database.read(saved_values.of_run, run.id)) == 15
    database.engine.finish(running, RunStatus.SUCCESS, attempts.AttemptResult())
    database.write(saved_values.forget)
    assert database.read(saved_values.of_run, run.id) == []


def test_a_renewed_lease_keeps_what_was_used(database, make):
    [run] = make().runs
    running = claim(database, run).run
    held = attempts.HeldLease(run.id, running.attempt, usage={"tokens": 4})

    database.write(attempts.renew, POOL, [held], LEASE)
    database.engine.finish(running, RunStatus.SUCCESS, attempts.AttemptResult())

    assert database.read(runs.find, run.id).usage == {"tokens": 4}
