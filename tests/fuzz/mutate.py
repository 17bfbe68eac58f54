"""Damages files as disks, networks and attackers do, by a random generator with a seed."""

import random
from collections.abc import Callable, Sequence

_NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
_HEAD_BYTES = 256
"""Most headers lie here; half of all damage goes there."""


def mutate(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return the content with one to four kinds of damage.

    Args:
        content: A sound file.
        others: Files that parts may be taken from.
        rng: Makes all choices.
    """
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        rng.choice(_WAYS)(damaged, others, rng)
    return bytes(damaged)


def _place(damaged: bytearray, rng: random.Random) -> int:
    end = len(damaged) if rng.random() < 0.5 else min(len(damaged), _HEAD_BYTES)
    return rng.randrange(max(1, end))


def _flip(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        if damaged:
            damaged[_place(damaged, rng)] ^= 1 << rng.randrange(8)


def _write_number(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    size = rng.choice([1, 2, 4, 8])
    number = rng.choice([*_NUMBERS, rng.getrandbits(32)]) & ((1 << 8 * size) - 1)
    at = _place(damaged, rng)
    damaged[at : at + size] = number.to_bytes(size, rng.choice(["big", "little"]))


def _cut(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    del damaged[_place(damaged, rng) :]


def _delete(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at = _place(damaged, rng)
    del damaged[at : at + rng.choice([1, 2, 4, 64, 1024])]


def _insert(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    size = rng.choice([1, 4, 64, 2048])
    filling = rng.choice([bytes(size), b"\xff" * size, rng.randbytes(size)])
    at = _place(damaged, rng)
    damaged[at:at] = filling


def _repeat(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at = _place(damaged, rng)
    damaged[at:at] = damaged[at : at + rng.choice([8, 64, 512])] * rng.randint(1, 4)


def _splice(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(others)
    at = rng.randrange(len(other))
    damaged[_place(damaged, rng) :] = other[at:]


def _append(damaged: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    damaged += rng.choice(others)[: rng.choice([16, 512, 1 << 20])]


_WAYS: list[Callable[[bytearray, Sequence[bytes], random.Random], None]] = [
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
