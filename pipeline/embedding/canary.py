"""The canary: one known signal that every process embeds before anything else.

A table's vectors can be compared because they lie in one space. Weights have a digest, but a
decoder, a resampler, a kernel or a device may change embeddings as well. So the first process that
writes into a table stores its embeddings of the signal there. A later process whose embeddings are
too far from those ends the run. The signal is two seconds at 44.1 kHz, shipped with the package,
and is decoded like any clip.
"""

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.audio import to_samples
from pipeline.clips import ClipRef
from pipeline.errors import DriftError, StoreError
from pipeline.io.versions import file_version
from pipeline.readers.shard_reader import clip_recording
from pipeline.samples import Samples
from pipeline.stream.clip_decoder import clip_reader
from pipeline.table.spec import TableSpec
from pipeline.table.table import Table
from pipeline.table_layout import META_DIR

CANARY_NAME = f"{META_DIR}/canary.json"
SIGNAL = Path(__file__).parents[1] / "data" / "canary.flac"
TOLERANCES = {"fp32": 0.005, "tf32": 0.02, "fp16": 0.02, "bf16": 0.05, "int8": 0.1}
"""Largest distance of two devices' vectors, relative to their length, by precision."""

Vector = npt.NDArray[np.float32]
EmbedOne = Callable[[str, Samples], Vector]
"""Embeds one window with an arch; returns float32 (dim,)."""


def check_canary(table: Table, embed: EmbedOne, device: str) -> None:
    """Embed the signal with each arch and compare it with the table's, or store it if it is first.

    Args:
        table: Table that is to be written.
        embed: Embeds one window in the same way as the table's windows.
        device: Name of the device, for messages.

    Raises:
        DriftError: This process embeds differently from earlier ones.
        StoreError: The table cannot be read or written.
    """
    vectors = {
        route.arch: embed(route.arch, window)
        for route, window in zip(table.spec.routes, _windows(table.spec), strict=True)
    }
    content = table.store.read(CANARY_NAME)
    if content is None:
        table.store.put_if_absent(CANARY_NAME, _content(vectors, device))
        content = table.store.read(CANARY_NAME)
    tolerance = TOLERANCES[table.spec.precision]
    for arch, (stored, origin) in _stored(table, content).items():
        distance = _distance(vectors[arch], stored)
        if not distance <= tolerance:
            raise DriftError(
                f"the canary drifts: {device} on {socket.gethostname()} embeds the known signal by "
                f"{arch} at a distance of {distance:.2g} from what {origin} left in "
                f"{table.store.locate(CANARY_NAME)}, more than {tolerance:g} "
                f"({table.spec.precision}). Nothing of it was written: its vectors would lie in "
                "another space. Use the same versions of passtream, torch and drivers, or begin a "
                "new table"
            )


def _windows(spec: TableSpec) -> list[Samples]:
    """Return the signal for each route, repeated until it is too long for the routes before."""
    ref = ClipRef(str(SIGNAL), file_version(str(SIGNAL)))
    signal = np.concatenate(list(clip_reader(clip_recording(ref)).pieces()))
    windows, shortest = [], 0
    for route in spec.routes:
        repeated = np.tile(signal, shortest // len(signal) + 1)
        windows.append(repeated[: to_samples(route.up_to_s)])
        shortest = to_samples(route.up_to_s)
    return windows


def _content(vectors: dict[str, Vector], device: str) -> bytes:
    made_by = {"host": socket.gethostname(), "pid": os.getpid(), "device": device}
    lists = {arch: vector.astype(float).tolist() for arch, vector in vectors.items()}
    return json.dumps(
        {"made_by": made_by, "made_s": round(time.time(), 3), "vectors": lists}
    ).encode()


def _stored(table: Table, content: bytes | None) -> dict[str, tuple[Vector, str]]:
    """Return the stored vector of each arch, and the process that stored it."""
    try:
        found = json.loads(content or b"")
        origin = f"{found['made_by']['device']} on {found['made_by']['host']}"
        return {
            route.arch: (np.array(found["vectors"][route.arch], np.float32), origin)
            for route in table.spec.routes
        }
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{table.store.locate(CANARY_NAME)} is damaged ({error!r}); delete it, and the next "
            "run leaves a new one"
        ) from error


def _distance(vector: Vector, stored: Vector) -> float:
    if vector.shape != stored.shape:
        return float("inf")
    return float(np.linalg.norm(vector - stored)) / max(float(np.linalg.norm(stored)), 1e-12)
