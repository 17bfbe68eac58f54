"""Every kind of source, with the same few recordings, for the contract suite of sources.

Tars, Parquet files and long recordings hold two recordings each, so that a test can lose one file
and keep the other.
"""

import csv
import functools
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from pipeline.audio import SAMPLE_RATE_HZ
from pipeline.sources.listing import FORMATS
from tests.pipeline.sources.corpora import HF_AUDIO, write_parquet, write_tar

# Names of the recordings, in the order of every listing.
NAMES = ("0.wav", "1 one.flac", "2 Möwe.wav", "deep/3.flac")
TEXTS = tuple(f"the text of {name}" for name in NAMES)
N_SAMPLES = (24_000, 64_000, 20_000, 28_000)
NO_RECORDING = b"This is no recording, whatever its name says. " * 200

Contents = Mapping[str, bytes]
"""Content of audio files by name; the names are from `NAMES`."""


@functools.cache
def make_samples(seed: int = 0) -> list[np.ndarray]:
    """Return int16 noise for each recording, which WAV and FLAC store exactly."""
    rng = np.random.default_rng(seed)
    return [rng.integers(-8000, 8000, n, np.int16) for n in N_SAMPLES]


@functools.cache
def make_recordings(seed: int = 0) -> Contents:
    return MappingProxyType(dict(zip(NAMES, map(_encode, NAMES, make_samples(seed)), strict=True)))


def _encode(name: str, samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    kind = Path(name).suffix[1:].upper()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format=kind, subtype="PCM_16")
    return file.getvalue()


@dataclass(frozen=True)
class Kind:
    """A kind of source.

    Attributes:
        format: Format that passtream has to detect.
        write: Function that stores recordings in a folder.
        clip_names: Expected names of the clips below the folder: file and member.
        source: Name of the source below the folder; `-` is standard input.
        carries: Whether the table carries the texts by default; None if the kind has no texts.
        has_ranges: Whether each recording is a byte range of its container.
        is_cut: Whether each recording is a span of a longer recording.
    """

    format: str
    write: Callable[[Path, Contents], None]
    clip_names: tuple[str, ...] = NAMES
    source: str = ""
    carries: bool | None = None
    has_ranges: bool = False
    is_cut: bool = False

    @property
    def file_names(self) -> tuple[str, ...]:
        """Name of the file of each recording."""
        if self.is_container or self.is_cut:
            return tuple(name.partition(" ")[0] for name in self.clip_names)
        return self.clip_names

    @property
    def is_container(self) -> bool:
        return self.format in ("tar", "parquet")

    @property
    def is_list(self) -> bool:
        """Whether the source is a list of recordings, which may be missing."""
        return self.format in ("manifest", "uris")

    def make_files(self, folder: Path, recordings: Contents) -> dict[str, bytes]:
        """Write recordings into a new folder; return the content of all files by name."""
        folder.mkdir(parents=True)
        self.write(folder, recordings)
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _split_in_halves(recordings: Contents):
    pairs = list(zip(recordings.items(), TEXTS, strict=False))
    return enumerate((pairs[:2], pairs[2:]))


def _write_files(folder: Path, recordings: Contents) -> None:
    for name, content in recordings.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def _tar_kind(ending: str) -> Kind:
    def write(folder: Path, recordings: Contents) -> None:
        for i, half in _split_in_halves(recordings):
            members = []
            for (name, content), text in half:
                members += [(name, content), (str(Path(name).with_suffix(".txt")), text.encode())]
            write_tar(folder / f"part-{i}{ending}", members)

    clip_names = tuple(f"part-{i // 2}{ending} {name}" for i, name in enumerate(NAMES))
    return Kind("tar", write, clip_names, carries=True, has_ranges=ending == ".tar")


def _parquet_kind(ending: str, write_half: Callable[[Path, Contents, list[str]], object]) -> Kind:
    def write(folder: Path, recordings: Contents) -> None:
        for i, half in _split_in_halves(recordings):
            clips = dict(clip for clip, _ in half)
            write_half(folder / f"part-{i}{ending}", clips, [text for _, text in half])

    clip_names = tuple(f"part-{i // 2}{ending} row={i % 2}" for i in range(len(NAMES)))
    return Kind("parquet", write, clip_names, carries=False)


def _write_arrow(path: Path, clips: Contents, texts: list[str], is_stream: bool = False) -> None:
    audio = [{"bytes": content, "path": name} for name, content in clips.items()]
    table = pa.table({"audio": pa.array(audio, HF_AUDIO), "txt": texts})
    new = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with new(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)


def _manifest_kind(ending: str) -> Kind:
    def write(folder: Path, recordings: Contents) -> None:
        _write_files(folder, recordings)
        rows = zip(recordings, TEXTS, strict=False)
        LISTS[ending](folder / f"list{ending}", [{"uri": u, "txt": t} for u, t in rows])

    return Kind("manifest", write, source=f"list{ending}", carries=True)


def _write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, LIST_SCHEMA.names)
        writer.writeheader()
        writer.writerows(rows)


LIST_SCHEMA = pa.schema(
    [("uri", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64()), ("txt", pa.string())]
)
LISTS: dict[str, Callable[[Path, list[dict[str, object]]], object]] = {
    ".csv": _write_csv,
    ".jsonl": lambda path, rows: path.write_text("\n".join(map(json.dumps, rows))),
    ".parquet": lambda path, rows: pq.write_table(pa.Table.from_pylist(rows, LIST_SCHEMA), path),
}


def _span_kind(ending: str) -> Kind:
    """Return a manifest of spans of long recordings."""
    bounds = [(0, 24_000), (24_000, 88_000), (0, 20_000), (20_000, 48_000)]
    spans = [(start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ) for start, end in bounds]
    longs = [f"long-{i // 2}.flac" for i in range(len(NAMES))]

    def write(folder: Path, recordings: Contents) -> None:
        for i, half in _split_in_halves(recordings):
            path = folder / f"long-{i}.flac"
            parts = [content for (_, content), _ in half]
            if not parts:
                continue
            if NO_RECORDING in parts:
                path.write_bytes(NO_RECORDING)
                continue
            read = [soundfile.read(io.BytesIO(each), dtype="int16")[0] for each in parts]
            soundfile.write(path, np.concatenate(read), SAMPLE_RATE_HZ, subtype="PCM_16")
        rows = [
            {"uri": uri, "start_s": start_s, "end_s": end_s, "txt": text}
            for uri, (start_s, end_s), text, _ in zip(longs, spans, TEXTS, recordings, strict=False)
        ]
        LISTS[ending](folder / f"list{ending}", rows)

    clip_names = tuple(
        f"{u} t={start!r},{end!r}" for u, (start, end) in zip(longs, spans, strict=True)
    )
    return Kind("manifest", write, clip_names, f"list{ending}", carries=True, is_cut=True)


KINDS: dict[str, Kind] = {
    "files": Kind("files", _write_files),
    "stdin": Kind("uris", _write_files, source="-"),
    "tar": _tar_kind(".tar"),
    "tar.gz": _tar_kind(".tar.gz"),
    "parquet": _parquet_kind(
        ".parquet", lambda path, clips, texts: write_parquet(path, clips, txt=texts)
    ),
    "arrow": _parquet_kind(".arrow", _write_arrow),
    "arrow stream": _parquet_kind(".arrow", lambda *half: _write_arrow(*half, is_stream=True)),
    "csv": _manifest_kind(".csv"),
    "jsonl": _manifest_kind(".jsonl"),
    "parquet manifest": _manifest_kind(".parquet"),
    "csv of spans": _span_kind(".csv"),
    "jsonl of spans": _span_kind(".jsonl"),
    "parquet of spans": _span_kind(".parquet"),
}
"""Every kind of source, by name."""

assert {kind.format for kind in KINDS.values()} == set(FORMATS)
