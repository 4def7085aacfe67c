"""Filters of system calls in classic BPF, which is what seccomp takes: a small assembler.

A filter is a list of instructions of eight bytes, each a test of the number or of an
argument of the call, and ends with an answer. Jumps go forward by at most 255
instructions. Of an argument only the lower half is looked at: all that is tested here
are C ints, of which the kernel takes no more.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

Instruction = tuple[int, int, int, int]
"""Operation, how far to jump if the test holds, how far if it does not, and its operand."""

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_GREATER: Final = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_IF_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

# Offsets in struct seccomp_data; both architectures are little-endian.
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_ARGUMENTS: Final = 16

ALLOW: Final[Instruction] = (_RETURN, 0, 0, 0x7FFF0000)
_MOST_NUMBERS: Final = 250
"""How many numbers are tested before the answer, so that a jump to it is not too far."""


def fail(errno: int) -> Instruction:
    """The call is not made, and fails with ``errno``."""
    return (_RETURN, 0, 0, 0x00050000 | errno)


def assemble(instructions: Sequence[Instruction]) -> bytes:
    """The filter as the kernel reads it: an array of ``struct sock_filter``."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


# ── tests of the call ───────────────────────────────────────────────────────


def for_architecture(audit: int, answer: Instruction) -> list[Instruction]:
    """``answer`` to all calls of another architecture; the number is loaded after it."""
    return [(_LOAD, 0, 0, _ARCHITECTURE), (_IF_EQUAL, 1, 0, audit), answer, (_LOAD, 0, 0, _NUMBER)]


def number_has(bit: int, answer: Instruction) -> list[Instruction]:
    """``answer`` to numbers with a bit of ``bit``."""
    return [(_IF_ANY_BIT, 0, 1, bit), answer]


def number_above(highest: int, answer: Instruction) -> list[Instruction]:
    """``answer`` to numbers above ``highest``."""
    return [(_IF_GREATER, 0, 1, highest), answer]


def number_among(numbers: Iterable[int], answer: Instruction) -> list[Instruction]:
    """``answer`` to these numbers."""
    ordered = sorted(numbers)
    result: list[Instruction] = []
    for start in range(0, len(ordered), _MOST_NUMBERS):
        part = ordered[start : start + _MOST_NUMBERS]
        for index, number in enumerate(part):
            last = index == len(part) - 1
            result.append((_IF_EQUAL, len(part) - 1 - index, 1 if last else 0, number))
        result.append(answer)
    return result


def call(number: int, tests: Sequence[Instruction]) -> list[Instruction]:
    """Tests of one call's arguments; it is allowed if none of them answers."""
    return [(_IF_EQUAL, 0, len(tests) + 1, number), *tests, ALLOW]


# ── tests of an argument ────────────────────────────────────────────────────


def only(
    argument: int, values: Sequence[int], answer: Instruction, mask: int | None = None
) -> list[Instruction]:
    """``answer`` unless the argument, of which ``mask`` counts, is one of ``values``."""
    jumps: list[Instruction] = [
        (_IF_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)
    ]
    return [*_load(argument, mask), *jumps, answer]


def never(
    argument: int, values: Sequence[int], answer: Instruction, mask: int | None = None
) -> list[Instruction]:
    """``answer`` if the argument, of which ``mask`` counts, is one of ``values``."""
    tests = [test for value in values for test in ((_IF_EQUAL, 0, 1, value), answer)]
    return [*_load(argument, mask), *tests]


def no_bit(argument: int, mask: int, answer: Instruction) -> list[Instruction]:
    """``answer`` if the argument has any bit of ``mask``."""
    return [*_load(argument, None), (_IF_ANY_BIT, 0, 1, mask), answer]


def if_any(
    argument: int, values: Sequence[int], tests: Sequence[Instruction], mask: int | None = None
) -> list[Instruction]:
    """``tests`` for calls whose argument, of which ``mask`` counts, is one of ``values``."""
    jumps: list[Instruction] = [
        (_IF_EQUAL, len(values) - 1 - index, len(tests) if index == len(values) - 1 else 0, value)
        for index, value in enumerate(values)
    ]
    return [*_load(argument, mask), *jumps, *tests]


def _load(argument: int, mask: int | None) -> list[Instruction]:
    load: Instruction = (_LOAD, 0, 0, _ARGUMENTS + 8 * argument)
    return [load] if mask is None else [load, (_AND, 0, 0, mask)]
