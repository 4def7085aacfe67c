"""The slots of a pool process, while some of its runs wait for sub-runs."""

from __future__ import annotations

from runtime.pool.slots import Slots


class Process:
    """What changes who is at work."""

    def __init__(self, total: int) -> None:
        self.waiting = 0
        self.rooms: list[bool] = []
        self.slots = Slots(total, lambda: self.waiting, self.rooms.append)

    def wait(self, more: int) -> None:
        self.waiting += more
        self.slots.changed()


def test_a_run_that_waits_leaves_room_for_one_that_is_told_of_once() -> None:
    process = Process(1)

    process.slots.take()
    process.wait(1)
    process.slots.take()
    process.slots.give_back()
    process.wait(-1)
    process.slots.give_back()

    assert process.rooms == [False, True, False, True, False, True]
    assert process.slots.free == 1


def test_one_that_goes_on_while_its_room_is_taken_lets_nothing_begin() -> None:
    process = Process(1)
    process.slots.take()
    process.wait(1)
    process.slots.take()

    process.wait(-1)

    assert process.slots.free == -1
    process.slots.give_back()
    assert process.slots.free == 0
    assert process.rooms[-1] is False


def test_what_an_isolated_process_executes_uses_no_slot_here() -> None:
    process = Process(1)
    process.slots.take()

    process.slots.set_apart(1)
    assert process.slots.free == 1
    process.slots.set_apart(-1)
    process.slots.give_back()

    assert (process.slots.free, process.slots.held) == (1, 0)
