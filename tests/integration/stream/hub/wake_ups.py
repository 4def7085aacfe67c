"""Wake-ups that are lost, late, doubled or garbled: no stream has a gap."""

from __future__ import annotations

import random
import time

import gevent
import gevent.event

from runtime.testing.waiting import until
from tests.integration.stream.hub.stage import (
    Deliver,
    Stage,
    encoded,
    kill_pubsub,
    parse,
    scenario,
)


@scenario
def duplicate_late_and_malformed_wake_ups_change_nothing(url: str) -> None:
    stage = Stage(url, reread=0.2)
    chance = random.Random(5)
    kept: list[bytes] = []

    def garble(deliver: Deliver, channel: str, message: bytes) -> None:
        kept.append(message)
        delivered = (chance.choice(kept), message, b"", b"what\nis this", chance.choice(kept))
        for each in delivered[chance.randrange(3) :]:
            deliver(channel, each)

    stage.intercept(garble)
    readers = [stage.watch() for _ in range(5)]
    for number in range(300):
        stage.write(str(number))
    until(lambda: all(len(reader.events) == 300 for reader in readers))
    assert all(reader.texts == [str(number) for number in range(300)] for reader in readers)


@scenario
def a_lost_wake_up_is_found_by_rereading(url: str) -> None:
    stage = Stage(url, reread=0.2)
    stage.intercept(lambda deliver, channel, message: None)
    reader = stage.watch()
    for number in range(5):
        stage.write(str(number))
        until(lambda number=number: len(reader.events) == number + 1)
    assert reader.texts == ["0", "1", "2", "3", "4"]


@scenario
def wake_ups_lost_at_random_leave_no_gap(url: str) -> None:
    stage = Stage(url, reread=0.2)
    chance = random.Random(3)
    stage.intercept(lambda deliver, *message: deliver(*message) if chance.random() < 0.5 else None)
    readers = [stage.watch() for _ in range(20)]
    for number in range(300):
        stage.write(str(number))
    until(lambda: all(len(reader.events) == 300 for reader in readers))
    assert all(reader.texts == [str(number) for number in range(300)] for reader in readers)


@scenario
def killed_pub_sub_connections_leave_no_gap(url: str) -> None:
    stage = Stage(url)
    readers = [stage.watch() for _ in range(20)]
    for number in range(200):
        stage.write(str(number))
        if number % 20 == 10:
            kill_pubsub(stage.link)
    until(lambda: all(len(reader.events) == 200 for reader in readers))
    assert all(reader.texts == [str(number) for number in range(200)] for reader in readers)


@scenario
def a_stream_opens_right_after_the_last_one_of_its_thread_closed(url: str) -> None:
    stage = Stage(url)
    for number in range(20):
        follower = stage.hub.follow(stage.thread, None)
        stage.write(str(number))
        assert [each["text"] for each in parse(encoded(next(follower)))] == [str(number)]
        follower.close()


@scenario
def streams_that_open_and_close_miss_no_wake_up(url: str) -> None:
    stage = Stage(url)
    stop = time.monotonic() + 3
    rounds = 0

    def come_and_go(seed: int) -> None:
        nonlocal rounds
        chance = random.Random(seed)
        while time.monotonic() < stop or rounds <= 50:
            reader = stage.watch()
            mark = f"{seed}-{rounds}"
            if chance.random() < 0.5:
                gevent.sleep(0)
            stage.write(mark)
            until(lambda mark=mark, reader=reader: mark in reader.texts)
            seqs = [each["seq"] for each in reader.events]
            assert seqs == list(range(int(str(seqs[0])), int(str(seqs[0])) + len(seqs)))
            reader.stop()
            rounds += 1

    gevent.joinall([gevent.spawn(come_and_go, seed) for seed in range(5)], raise_error=True)
    assert rounds > 50
    assert stage.hub.stats()[:2] == (0, 0)
