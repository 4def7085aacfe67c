"""The chaos run's own judgement: a promise that is broken is found out."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

import httpx
import pytest

from runtime import logs
from runtime.testing.sse import Received
from tests.chaos import plan, report
from tests.chaos.api import Api, Refused
from tests.chaos.ledger import Accepted, Injection, Ledger, Observation, Sent
from tests.chaos.plan import Ask, Fault
from tests.chaos.readers import SequenceCheck
from tests.chaos.stored import Stored, StoredMessage, StoredRun
from tests.chaos.verdict import judge
from tests.chaos.view import ShownMessage, View

TEXT = "«1» Übermut"
ASK = Ask(1, 0.0, 0, "echo", TEXT, "echo", {}, (("text", TEXT),), 1, None, None, False, ())
MESSAGE = StoredMessage("m", "out", 0, 1, False, "text", TEXT, "complete", "r")
RUN = StoredRun(
    "r", "t", "out", "success", 1, 0, 0, 0, False, True, True, False, 100.0, 110.0, None, "", (MESSAGE,)
)
LOST = "[attempt 1] [branchline] Attempt 1 was lost: its pool process (python@a) stopped answering.\n"
HOST_LOST = "[attempt 1] [branchline] Attempt 1 was lost: the process that had started it ended.\n"


def ledger() -> Ledger:
    """One run, accepted and watched."""
    ledger = Ledger()
    ledger.accepted[1] = Accepted(ASK, "t", "in", ["r"], ["out"], 100.0)
    view = View({"m": ShownMessage("r", 1, TEXT, 2, True)}, {"r": "success"})
    ledger.watch(Observation("r", "run", view, done=True))
    return ledger


def stored(**changes: object) -> Stored:
    """What became of it; ``changes`` to the run."""
    found = Stored(runs={"r": replace(RUN, **changes)}, prompts={"in": [TEXT]})
    found.completions["r"] = 1
    return found


def violations(known: Ledger, found: Stored) -> str:
    return "\n".join(violation.text for violation in judge(known, found))


def test_a_run_that_went_well_breaks_no_promise():
    assert violations(ledger(), stored()) == ""


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"status": "running", "finished_at": None}, "has not ended"),
        ({"announced": False}, "was not announced"),
        ({"messages": (replace(MESSAGE, content="«1» Üübermut"),)}, "was to write"),
        ({"messages": (MESSAGE, replace(MESSAGE, id="m2", position=1))}, "was to write"),
        ({"messages": (replace(MESSAGE, status="partial"),)}, "a message is ['partial']"),
        ({"status": "cancelled"}, "for no reason"),
        ({"status": "error", "error": {"code": "worker_crashed"}}, "for no reason"),
        ({"attempt": 2, "failures": 1, "reaps": 1, "log": LOST}, "was lost without a fault"),
        ({"attempt": 2, "failures": 1, "reaps": 1, "log": HOST_LOST}, "was lost without a fault"),
        ({"attempt": 2}, "have no reason"),
        ({"failures": 1}, "1 failures"),
        ({"leased": True}, "lease was left behind"),
        ({"status": "queued", "finished_at": None}, "nobody has claimed it"),
    ],
)
def test_a_run_that_is_not_as_promised_is_found(changes, complaint):
    assert complaint in violations(ledger(), stored(**changes))


def test_a_lost_run_and_an_unknown_one_are_found():
    lost, doubled = stored(), stored()
    lost.runs.clear()
    doubled.runs["r2"] = replace(RUN, id="r2")

    assert "is lost" in violations(ledger(), lost)
    assert "carried out twice" in violations(ledger(), doubled)


def test_a_prompt_stored_twice_or_not_at_all_is_found():
    lost, doubled = stored(), stored()
    lost.prompts.clear()
    doubled.prompts["another"] = [TEXT]

    assert "stored is []" in violations(ledger(), lost)
    assert "it is stored 2 times" in violations(ledger(), doubled)


@pytest.mark.parametrize("of_log", [0, 1])
def test_a_second_end_is_found(of_log):
    known, found = ledger(), stored()
    if of_log:
        found.completions["r"] = 2
    else:
        known.observations[0].view.apply(
            Received("run.completed", "e:9", {"run_id": "r", "status": "success"})
        )
        known.observations[0].wrong += known.observations[0].view.wrong

    assert "run.completed" in violations(known, found)


def test_a_reader_with_another_text_another_end_or_none_is_found():
    text, end, none = ledger(), ledger(), ledger()
    text.observations[0].view.messages["m"].text += "t"
    end.observations[0].view.ended["r"] = "error"
    none.observations[0].done = False

    assert "stored is" in violations(text, stored())
    assert "saw it end as error" in violations(end, stored())
    assert "never saw its end" in violations(none, stored())


def test_an_answer_that_was_false_is_found():
    known = ledger()
    known.report(ASK, {"id": "r", "status": "cancelled", "finished_at": "now"})

    assert "reported as cancelled" in violations(known, stored())


def failing_web_process(request: httpx.Request) -> httpx.Response:
    return httpx.Response(500, headers={"X-Request-ID": "q-1"}, json={"title": "Internal error"})


def failed_requests(known: Ledger) -> None:
    """A call and a stream, at a web process that fails."""
    api = Api(["http://here"], known)
    api.close()
    api._client = httpx.Client(transport=httpx.MockTransport(failing_web_process))
    with pytest.raises(Refused):
        api.call("GET", "/api/me")
    with pytest.raises(Refused), api.stream("/api/runs/r/events", None):
        pass
    api.close()


def test_an_answer_that_is_a_fault_of_ours_is_found():
    known = ledger()
    failed_requests(known)

    assert "GET http://here/api/me was answered 500" in violations(known, stored())
    assert "GET http://here/api/runs/r/events was answered 500" in violations(known, stored())


def log_of_a_web_process(request_id: str) -> str:
    """As it is printed."""
    records = []
    for number in range(30):
        record = logging.LogRecord("web", logging.INFO, "", 0, f"record {number};", (), None)
        if number == 20:
            try:
                raise ValueError("what went wrong")
            except ValueError:
                record.exc_info = sys.exc_info()
        with logs.about(request_id=request_id if number == 20 else f"of {number}"):
            records.append(logs.OneLine("%(asctime)s %(name)s: %(message)s").format(record))
    return "\n".join(records)


def test_the_story_of_a_fault_of_ours_shows_the_log_of_its_process_around_it():
    known = ledger()
    failed_requests(known)
    of = {"web 1": log_of_a_web_process("another"), "web 2": log_of_a_web_process("q-1")}
    found = [violation for violation in judge(known, stored()) if violation.request_id]
    outcome = report.Outcome(plan.make(3, 60, lease=4, asks=1, faults=1), "", known, stored(), found, 1.0, of)

    story = report.stories(outcome)
    assert "seed 3: q-1" in story
    assert "web 1" not in story
    shown = [number for number in range(30) if f"web: record {number};" in story]
    assert 20 in shown and 19 in shown and 21 in shown and 0 not in shown
    assert "ValueError: what went wrong" in story


def test_leftovers_of_a_run_are_found():
    found = stored()
    found.waiting_messages, found.processes, found.memory = 1, {5: "sleep"}, {"pool": 2 << 30}
    found.foreign_keys = ["branchline:{t}:log"]

    assert len(judge(ledger(), found)) == 4


STEERED = replace(
    ASK, worker_id="program", config={"steps": [["delta", TEXT], ["inbox", "i0"]]}, expected=(),
    sends=((0.0, "«1» sent 0"),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "read", "resting", "complaint"),
    [
        (TEXT + "i0 found «1» sent 0 to 0 ", True, [], ""),
        (TEXT + "i0 found nothing ", False, [], "is read, begins a run, rests: [0, 0, 0]"),
        (
            TEXT + "i0 found «1» sent 0 to 0 ",
            True,
            ["«1» sent 0 to 0"],
            "is read, begins a run, rests: [1, 0, 1]",
        ),
        (TEXT + "i0 found nothing ", True, [], "its worker has not read"),
        (TEXT + "i0 found nothing ", False, ["«1» sent 0 to 0"], "has begun no run"),
        (TEXT[1:] + "i0 found «1» sent 0 to 0 ", True, [], "was to write"),
    ],
)
def test_a_message_to_a_run_that_is_not_in_one_place_is_found(said, read, resting, complaint):
    known = ledger()
    known.accepted[1] = replace(known.accepted[1], ask=STEERED)
    known.observations.clear()
    known.sent["r"] = [Sent("«1» sent 0 to 0", accepted=True, in_doubt=False)]
    sent = replace(MESSAGE, id="q", position=1, content="«1» sent 0 to 0", of_user=True)
    found = stored(messages=(replace(MESSAGE, content=said), *([sent] if read else [])))
    found.resting = resting
    assert complaint in violations(known, found)
    assert bool(complaint) == bool(violations(known, found))


def test_what_began_a_run_without_being_asked_is_judged_as_the_run_that_it_follows():
    found = stored()
    found.runs["next"] = replace(RUN, id="next", messages=())
    found.completions["next"] = 1
    assert "a request was carried out twice" in violations(ledger(), found)
    found.begun["next"] = "r"
    assert "a request was carried out twice" not in violations(ledger(), found)
    assert "was to write" in violations(ledger(), found)


@pytest.mark.parametrize(
    ("ends", "complaint"),
    [(["success"], ""), ([], "sub-runs"), (["success", "success"], "sub-runs"), (["error"], "sub-runs")],
)
def test_a_sub_run_that_is_missing_or_doubled_is_found(ends, complaint):
    known = ledger()
    calls = replace(ASK, worker_id="program", config={"steps": [["call", "s0"]]})
    known.accepted[1] = replace(known.accepted[1], ask=calls)
    found = stored()
    for number, status in enumerate(ends):
        run = replace(RUN, id=f"below {number}", status=status, called_by="r", messages=())
        found.runs[run.id] = run
        found.completions[run.id] = 1
    assert complaint in violations(known, found)
    assert bool(complaint) == bool(violations(known, found))


def test_a_durable_step_that_was_taken_again_without_a_lost_attempt_is_found():
    found = stored()
    found.paid["r", "s0"] = 2
    assert "durable steps were taken again 1 times" in violations(ledger(), found)
    found.tasks = ["next_run r"]
    assert "the outbox has a task: next_run r" in violations(ledger(), found)


@pytest.mark.parametrize(("hit", "explained"), [("python@a", True), ("python@b", False)])
def test_an_attempt_is_explained_by_a_fault_of_its_own_pool_only(hit, explained):
    known = ledger()
    known.injections.append(Injection(Fault(0, 1.0, "pool", "kill", 0.0, 0.0), 105.0, 105.0, {hit}))
    found = stored(attempt=2, failures=1, reaps=1, log=LOST)

    assert (violations(known, found) == "") is explained


@pytest.mark.parametrize(("target", "explained"), [("host", True), ("redis", False)])
def test_an_attempt_whose_child_was_lost_is_explained_by_a_fault_of_a_host(target, explained):
    known = ledger()
    known.injections.append(Injection(Fault(0, 1.0, target, "kill", 0.0, 0.0), 105.0, 105.0))
    found = stored(attempt=2, failures=1, reaps=1, log=HOST_LOST)

    assert (violations(known, found) == "") is explained


def delta(n: int, text: str) -> Received:
    data = {"run_id": "r", "attempt": 1, "message_id": "m", "n": n, "text": text}
    return Received("message.delta", f"e:{n + 1}", data)


def event(type: str, seq: int, **data: object) -> Received:
    return Received(type, f"e:{seq}", {"run_id": "r", "attempt": 1, **data})


CREATED = event("message.created", 1, message={"id": "m", "content": ""})


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([delta(1, "a"), delta(3, "c")], "came after 1"),
        (
            [delta(1, "a"), event("message.completed", 4, message={"id": "m", "content": "aa"})],
            "was streamed as",
        ),
        ([delta(1, "a"), event("run.completed", 4, status="success")], "ended before its message"),
        ([delta(1, "a"), event("run.retried", 4, attempt=2, discarded=[])], "was not discarded"),
    ],
)
def test_a_stream_that_breaks_the_rules_is_found(events, complaint):
    view = View()
    for received in [CREATED, *events]:
        view.apply(received)

    assert complaint in view.wrong[0]


def test_a_delta_that_comes_twice_is_passed_over():
    view = View()
    for received in [CREATED, delta(1, "a"), delta(1, "a"), delta(2, "b")]:
        view.apply(received)

    assert (view.texts("r"), view.wrong) == ({"m": "ab"}, [])


@pytest.mark.parametrize(
    ("ids", "contiguous", "fine"),
    [
        (["e:1", "e:2"], True, True),
        (["e:1", "e:3"], True, False),
        (["e:1", "e:3"], False, True),
        (["e:3", "e:3"], False, False),
        (["e:3", "f:4"], False, False),
        (["db-r-1:4", "e:3"], False, True),
    ],
)
def test_event_ids_that_skip_or_repeat_are_found(ids, contiguous, fine):
    sequence = SequenceCheck(contiguous=contiguous)

    assert any(sequence.check(Received("run.step", one)) for one in ids) is not fine


def test_the_same_seed_makes_the_same_plan_and_another_seed_another():
    make = [plan.make(seed, 60, lease=4, asks=50, faults=40) for seed in (3, 3, 4)]

    assert make[0] == make[1] != make[2]
    assert {plan.make(seed, 1, lease=4, asks=1, faults=1).installation for seed in range(9)} == {"", "north"}
    assert {(fault.target, fault.action) for fault in make[0].faults} == set(plan.KINDS)
