"""Damages files at random, as disks, networks and attackers do."""

import random
from collections.abc import Callable, Sequence

_NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
_HEADER_BYTES = 256
"""Length of the beginning, where most headers lie and half of all damage is done, in bytes."""


def mutate(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return the content with one to four kinds of damage.

    Args:
        content: Content of an intact file.
        others: Contents of other files, parts of which may be inserted.
        rng: Random generator for all choices.
    """
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        rng.choice(_DAMAGES)(damaged, others, rng)
    return bytes(damaged)


def _choose_position(damaged: bytearray, rng: random.Random) -> int:
    end = len(damaged) if rng.random() < 0.5 else min(len(damaged), _HEADER_BYTES)
    return rng.randrange(max(1, end))


def _flip(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        if damaged:
            damaged[_choose_position(damaged, rng)] ^= 1 << rng.randrange(8)


def _write_number(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    size = rng.choice([1, 2, 4, 8])
    number = rng.choice([*_NUMBERS, rng.getrandbits(32)]) & ((1 << 8 * size) - 1)
    position = _choose_position(damaged, rng)
    damaged[position : position + size] = number.to_bytes(size, rng.choice(["big", "little"]))


def _cut(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    del damaged[_choose_position(damaged, rng) :]


def _delete(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    position = _choose_position(damaged, rng)
    del damaged[position : position + rng.choice([1, 2, 4, 64, 1024])]


def _insert(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    size = rng.choice([1, 4, 64, 2048])
    filling = rng.choice([bytes(size), b"\xff" * size, rng.randbytes(size)])
    position = _choose_position(damaged, rng)
    damaged[position:position] = filling


def _repeat(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    position = _choose_position(damaged, rng)
    damaged[position:position] = damaged[
        position : position + rng.choice([8, 64, 512])
    ] * rng.randint(1, 4)


def _splice(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(others)
    position = rng.randrange(len(other))
    damaged[_choose_position(damaged, rng) :] = other[position:]


def _append(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    damaged += rng.choice(others)[: rng.choice([16, 512, 1 << 20])]


_DAMAGES: list[Callable[[bytearray, Sequence[bytes], random.Random], None]] = [
    _flip,
    _flip,
    _write_number,
    _write_number,
    _cut,
    _delete,
    _insert,
    _repeat,
    _splice,
    _append,
]
