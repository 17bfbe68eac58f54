"""Checks of a shard's rows for `verify`; each problem is one line.

The rows of `clips` determine the number and the positions of windows and timestamps. `windows` fits
in memory. `timestamps` is checked row group by row group, because a ten-hour clip has gigabytes.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.audio import SAMPLE_RATE_HZ, to_samples
from pipeline.decode.quality import FLOOR_DBFS
from pipeline.table.schema import IDENTITY_COLUMNS
from pipeline.table.spec import TableSpec

SHOWN = 5
"""Number of examples that a problem names."""
_ROUNDING_DB = 0.01


def vector_problems(name: str, column: pa.ChunkedArray) -> Iterator[str]:
    """Check a column of embeddings or logits: no nulls, all finite, none all zero."""
    vectors = matrix(column)
    if column.null_count:
        yield f"{name} has nulls"
    if not np.isfinite(vectors).all():
        yield f"{name} has NaN or infinite values"
    if len(vectors) and not vectors.any(axis=1).all():
        yield f"{name} has all-zero vectors"


def label_problems(name: str, column: pa.ChunkedArray, top_k: int, n_classes: int) -> Iterator[str]:
    """Check a column of labels: `top_k` different classes each, most probable first."""
    labels = column.combine_chunks()
    if not pc.all(pc.equal(pc.list_value_length(labels), top_k)).as_py() and len(labels):
        yield f"{name} has rows with other than {top_k} labels"
        return
    flat = labels.flatten()
    index, probability = (
        pc.struct_field(flat, field).to_numpy(zero_copy_only=False).reshape(-1, top_k)
        for field in ("index", "probability")
    )
    if not ((index >= 0) & (index < n_classes)).all():
        yield f"{name} has classes that are none of the {n_classes}"
    if not ((probability >= 0) & (probability <= 1)).all():
        yield f"{name} has probabilities outside 0 to 1"
    if not (np.diff(probability, axis=1) <= 0).all():
        yield f"{name} has labels that are not in order"
    if not np.diff(np.sort(index, axis=1), axis=1).all():
        yield f"{name} has a class twice in one row"


def clip_problems(clips: pa.Table, spec: TableSpec) -> Iterator[str]:
    """Check rows of `clips`: windows and arch by the duration, and the quality columns."""
    yield from _quality_problems(clips)
    columns = ("clip_id", "duration_s", "n_windows", "arch")
    for clip_id, duration_s, n_windows, arch in tuples(clips, columns):
        n_samples = to_samples(duration_s)
        if n_windows != (count := spec.window_rule.count(n_samples)):
            yield f"clip {clip_id} has n_windows {n_windows}, its duration makes {count}"
        if arch != (expected := spec.arch_for(n_samples)):
            yield f"clip {clip_id} has arch {arch!r}, its duration makes {expected!r}"


def _quality_problems(clips: pa.Table) -> Iterator[str]:
    """Check the quality columns: finite, in range, and no mix louder than the loudest channel."""
    rms, peak, clipped = (
        clips[name].to_numpy() for name in ("rms_dbfs", "peak_dbfs", "clipped_ratio")
    )
    for name, values in (("rms_dbfs", rms), ("peak_dbfs", peak)):
        if not (np.isfinite(values) & (values >= FLOOR_DBFS)).all():
            yield f"{name} has values that are not finite or below {FLOOR_DBFS:g}"
    if not ((clipped >= 0) & (clipped <= 1)).all():
        yield "clipped_ratio has values outside 0 to 1"
    if (rms > peak + _ROUNDING_DB).any():
        yield "rms_dbfs is above peak_dbfs"


def window_problems(clips: pa.Table, windows: pa.Table, spec: TableSpec) -> Iterator[str]:
    """Check rows of `windows`: all windows of each clip, in order, at their positions."""
    rule = spec.window_rule
    expected = []
    for clip_id, duration_s, arch in tuples(clips, ("clip_id", "duration_s", "arch")):
        n_samples = to_samples(duration_s)
        for index in range(rule.count(n_samples)):
            start, end = rule.span(index, n_samples)
            expected.append((clip_id, index, start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ, arch))
    found = tuples(windows, ("clip_id", "window_index", "start_s", "end_s", "arch"))
    if found != expected:
        wrong = {f"clip {row[0]} window {row[1]}" for row in set(found) ^ set(expected)}
        yield f"windows are not contiguous: {', '.join(sorted(wrong)[:SHOWN]) or 'their order'}"


def timestamp_problems(
    clips: pa.Table, groups: Iterable[pa.Table], spec: TableSpec
) -> Iterator[str]:
    """Check rows of `timestamps`: one per hop of each clip, in order, with sound embeddings.

    Args:
        clips: Rows of `clips` of the shard.
        groups: Row groups of `timestamps`, in order.
        spec: Spec of the table.
    """
    found: set[str] = set()
    counts = [spec.n_timestamps(to_samples(s)) for s in clips["duration_s"].to_pylist()]
    ends = np.cumsum([0, *counts])
    n_rows, in_order = 0, True
    for rows in groups:
        if in_order and (problem := _misplaced(clips, rows, n_rows, ends, spec)):
            in_order = False  # all later rows would be shifted
            yield problem
        n_rows += rows.num_rows
        for problem in vector_problems("timestamps.embedding", rows["embedding"]):
            if problem not in found:
                found.add(problem)
                yield problem
    if in_order and n_rows < ends[-1]:
        place = _timestamp_name(clips, n_rows, ends)
        yield f"timestamps are not contiguous: they end before {place}"


def _misplaced(
    clips: pa.Table, rows: pa.Table, first: int, ends: npt.NDArray[np.int64], spec: TableSpec
) -> str | None:
    """Return a problem for the first row that is not the expected one."""
    at = np.arange(first, min(first + rows.num_rows, ends[-1]))
    clip = np.searchsorted(ends, at, side="right") - 1
    index = at - ends[clip]
    columns = {name: clips[name].take(pa.array(clip)).to_numpy() for name in IDENTITY_COLUMNS}
    columns["arch"] = np.full(len(at), spec.routes[0].arch)
    columns |= {"timestamp_index": index, "timestamp_ms": spec.timestamp_ms(index)}
    wrong = {
        name: np.flatnonzero(rows[name].slice(0, len(at)).to_numpy() != expected)
        for name, expected in columns.items()
    }
    if firsts := {name: places[0] for name, places in wrong.items() if len(places)}:
        name = min(firsts, key=lambda name: firsts[name])
        value, place = rows[name][firsts[name]], _timestamp_name(clips, at[firsts[name]], ends)
        return f"timestamps are not contiguous: {name} is {value} in place of {place}"
    if len(at) < rows.num_rows:
        return f"timestamps are not contiguous: there are more than the {ends[-1]} of the clips"
    return None


def _timestamp_name(clips: pa.Table, row: int, ends: npt.NDArray[np.int64]) -> str:
    clip = int(np.searchsorted(ends, row, side="right")) - 1
    return f"clip {clips['clip_id'][clip]} timestamp {row - ends[clip]}"


def tuples(rows: pa.Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return some columns of rows as Python values."""
    return list(zip(*(rows[name].to_pylist() for name in columns), strict=True))


def matrix(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """Return a column of vectors as float32 (rows, width)."""
    width = column.type.list_size
    vectors = column.combine_chunks().flatten().to_numpy()
    return np.asarray(vectors, np.float32).reshape(-1, width)


def empty_file(schema: pa.Schema) -> pq.ParquetFile:
    """Return a Parquet file without rows."""
    file = io.BytesIO()
    pq.write_table(schema.empty_table(), file)
    return pq.ParquetFile(file, pre_buffer=False)


def read_row_groups(file: pq.ParquetFile) -> Iterator[pa.Table]:
    """Yield the row groups of a file, one after the other."""
    groups = range(file.num_row_groups)
    return (file.read_row_group(group, use_threads=False) for group in groups)


def show_some(uris: Iterable[str]) -> str:
    """Return the number of uris with the first of them, for a message."""
    listed = sorted(uris)
    shown = ", ".join(repr(uri) for uri in listed[:SHOWN])
    return f"{len(listed)} ({shown}{', ...' if len(listed) > SHOWN else ''})"
