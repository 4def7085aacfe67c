"""The stream of one run."""

from __future__ import annotations

from runtime.events import Cursor
from runtime.testing.waiting import until
from tests.integration.stream.hub.stage import (
    RUN,
    Pipe,
    Stage,
    encoded,
    event,
    parse,
    scenario,
)


@scenario
def watchers_of_a_run_share_its_beginning(url: str) -> None:
    stage = Stage(url)
    stage.write("before the run")
    stage.log.announce(stage.thread, RUN, 0, [event("run.queued", "q", text="queued", attempt=0)])
    stage.begin(event("run.started", "s", text="started"))
    followers = [stage.hub.follow_run(stage.thread, RUN) for _ in range(50)]
    now = stage.watch()
    stage.append(event("run.completed", "e", text="completed"))
    for follower in followers:
        assert follower is not None
        found = parse(b"".join(encoded(batch) for batch in follower if batch))
        assert [each["text"] for each in found] == ["queued", "started", "completed"]
    until(lambda: now.texts == ["completed"])
    assert stage.hub.stats().reads == 0


@scenario
def a_run_that_is_missing_or_long_is_left_to_the_caller_of_follow_run(url: str) -> None:
    stage = Stage(url)
    assert stage.hub.follow_run(stage.thread, "unknown") is None
    stage.log.announce(stage.thread, RUN, 0, [event("run.queued", "q", attempt=0)])
    for number in range(600):
        stage.write(str(number))
    assert stage.hub.follow_run(stage.thread, RUN) is None
    assert stage.hub.stats()[:2] == (0, 0)
    now = stage.watch()
    stage.write("after")
    until(lambda: now.texts == ["after"])


@scenario
def a_directly_written_run_has_its_entries_only_and_ends(url: str) -> None:
    stage = Stage(url)
    pipe = Pipe()
    mine = stage.watch(Cursor(stage.log.cursor(stage.thread).epoch, 0), RUN, pipe)
    until(lambda: mine.follower.waiting)
    stage.begin(event("run.started", "s", text="mine"))
    until(lambda: pipe.offered == 1)
    stage.write("thread")
    stage.append(event("run.step", "1", text="more"))
    until(lambda: pipe.offered == 2)
    stage.write("thread")
    stage.append(event("run.completed", "e", text="end"))
    until(lambda: mine.greenlet.dead)
    assert mine.texts == ["mine", "more", "end"]
    assert pipe.offered == 2


@scenario
def a_run_is_read_on_behind_many_entries_of_others(url: str) -> None:
    stage = Stage(url, ring=4, heartbeat=60)
    start = stage.log.cursor(stage.thread)
    stage.begin(event("run.started", "s", text="mine"))
    for number in range(350):
        stage.write(str(number))
    stage.append(event("run.completed", "e", text="end"))

    mine = stage.watch(start, RUN)
    until(lambda: mine.greenlet.dead)
    assert mine.texts == ["mine", "end"]


@scenario
def a_stream_of_a_run_has_its_entries_only_and_ends(url: str) -> None:
    stage = Stage(url)
    epoch = stage.log.cursor(stage.thread).epoch
    mine = stage.watch(Cursor(epoch, 0), run=RUN)
    stage.begin(event("run.started", "s", text="mine"))
    stage.log.begin(stage.thread, "other", 1, [event("run.started", "s", text="other")])
    stage.write("thread")
    stage.log.append(stage.thread, "other", 1, 2, [event("run.completed", "e", text="other")])
    stage.append(event("run.completed", "e", text="mine"))
    stage.write("later")
    until(lambda: mine.greenlet.dead)
    assert [(each["type"], each["text"]) for each in mine.events] == [
        ("run.started", "mine"),
        ("run.completed", "mine"),
    ]
    assert mine.follower.reset is None


@scenario
def a_stream_of_a_run_leaves_the_reset_to_its_caller(url: str) -> None:
    stage = Stage(url, reread=0.2)
    stage.begin(event("run.started", "s"))
    reader = stage.watch(run=RUN)
    stage.link.client.flushall()
    until(lambda: reader.greenlet.dead)
    assert reader.events == []
    assert reader.follower.reset == "epoch"
