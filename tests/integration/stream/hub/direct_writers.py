"""Writers that are offered new entries before their greenlet is woken."""

from __future__ import annotations

import random

from runtime.testing.waiting import until
from tests.integration.stream.hub.stage import (
    Pipe,
    Stage,
    scenario,
)


@scenario
def new_entries_are_written_directly_while_the_greenlet_waits(url: str) -> None:
    stage = Stage(url)
    pipes = [Pipe() for _ in range(50)]
    readers = [stage.watch(pipe=pipe) for pipe in pipes]
    until(lambda: all(reader.follower.waiting for reader in readers))
    for number in range(20):
        stage.write(str(number))
        until(lambda number=number: all(len(pipe.raw) > number for pipe in pipes))
    assert all(pipe.offered == 20 for pipe in pipes)
    assert all(reader.texts == [str(number) for number in range(20)] for reader in readers)
    assert all(pipe.raw[-1] is pipes[0].raw[-1] for pipe in pipes)  # put together once
    head = stage.log.cursor(stage.thread)
    assert all(reader.follower.cursor == head for reader in readers)


@scenario
def nothing_is_sent_before_the_rest_of_a_batch(url: str) -> None:
    stage = Stage(url)
    pipe = Pipe(accepts=lambda: 0.5)
    reader = stage.watch(pipe=pipe)
    quick = stage.watch()
    until(lambda: reader.follower.waiting)
    pipe.reads.clear()
    for number in range(10):
        stage.write(str(number))
        until(lambda number=number: len(quick.events) == number + 1)
    assert (pipe.offered, len(pipe.raw)) == (1, 1)
    pipe.reads.set()
    until(lambda: len(reader.events) == 10)
    assert b"".join(reader.raw) == b"".join(quick.raw)
    reader.follower.close()
    until(lambda: reader.greenlet.dead)


@scenario
def readers_that_accept_parts_of_batches_miss_nothing(url: str) -> None:
    stage = Stage(url, reread=0.2, heartbeat=0.1, ring=4)
    chance = random.Random(7)
    stage.intercept(lambda deliver, *message: deliver(*message) if chance.random() < 0.8 else None)
    pipes = [Pipe(accepts=lambda: chance.choice((0, 0.3, 1, 1, 1))) for _ in range(20)]
    readers = [stage.watch(pipe=pipe) for pipe in pipes]
    written = 0
    while written < 300 or not any(pipe.offered for pipe in pipes):  # where all is late, nothing passes by
        stage.write(str(written))
        written += 1
        for pipe in pipes:
            if chance.random() < 0.3:
                pipe.reads.clear()
            else:
                pipe.reads.set()
    for pipe in pipes:
        pipe.reads.set()
    until(lambda: all(len(reader.events) == written for reader in readers))
    assert all(reader.texts == [str(number) for number in range(written)] for reader in readers)


@scenario
def a_greenlet_gets_its_heartbeat_however_much_is_written_directly(url: str) -> None:
    stage = Stage(url, heartbeat=0.2)
    pipe = Pipe()
    reader = stage.watch(pipe=pipe)
    until(lambda: reader.follower.waiting)
    written: list[str] = []
    while len(pipe.raw) - pipe.offered + reader.heartbeats < 3:
        written.append(str(len(written)))
        stage.write(written[-1])
        until(lambda: len(reader.events) == len(written))
    assert pipe.offered
    assert reader.texts == written


@scenario
def a_closed_writer_is_not_used(url: str) -> None:
    stage = Stage(url)
    pipe = Pipe()
    pipe.open = False
    reader = stage.watch(pipe=pipe)
    stage.write("one")
    until(lambda: reader.texts == ["one"])
    assert pipe.offered == 0
