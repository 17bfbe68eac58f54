"""The demo behind `make demo`, which makes a corpus, embeds it, verifies the table and shows rows.

The recordings are synthetic, but they are real audio files of seven kinds. Two are damaged on
purpose. The demo takes the same steps as a user: `passtream embed`, `passtream verify`, and a
plain Parquet reader.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import soundfile
from rich.console import Console
from rich.table import Table as RichTable

from jobs.cli.verify_text import run_verify
from jobs.embed.run import run_embed
from jobs.runtime.run_log import RunLog
from jobs.runtime.stop_signals import stop_signals
from jobs.settings.config import EmbedConfig
from models.errors import WeightsUnavailableError
from pipeline.samples import Samples
from pipeline.sources.listing import SourceOptions
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table

FOLDER = Path("demo")
SHOWN_ROWS = 6
_RATES_HZ = (8_000, 16_000, 22_050, 32_000, 44_100, 48_000)
_DURATIONS_S = (0.5, 0.8, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 9.9, 10, 12, 20, 30, 75)
_FORMATS = ("wav", "flac", "ogg", "mp3", "aiff", "opus", "m4a")


def make_corpus(folder: Path) -> int:
    """Write the demo recordings below `folder`, unless it exists, and return the number of files.

    The files are written to a temporary folder, which is renamed at the end. A corpus that exists
    is therefore complete.
    """
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        for index, duration_s in enumerate(_DURATIONS_S):
            ending = _FORMATS[index % len(_FORMATS)]
            rate_hz = 48_000 if ending == "opus" else _RATES_HZ[index % len(_RATES_HZ)]
            samples = _synthesize(index, duration_s, rate_hz)
            path = unfinished / ending / f"{index:02}-{duration_s:g}s.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, samples, rate_hz)
        broken = unfinished / "broken"
        broken.mkdir()
        (broken / "text.wav").write_text("This is no recording.\n")
        whole = (unfinished / "flac" / "01-0.8s.flac").read_bytes()
        (broken / "cut.flac").write_bytes(whole[: len(whole) // 2])
        unfinished.rename(folder)
    return sum(path.is_file() for path in folder.rglob("*"))


def _synthesize(seed: int, duration_s: float, rate_hz: int) -> Samples:
    """Return a chirp, a pulsed tone or swelling noise, as stereo float32 of shape (frames, 2)."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    low_hz, high_hz = sorted(rng.uniform(100, 0.4 * rate_hz, 2))
    kinds: list[Callable[[], npt.NDArray[np.float64]]] = [
        lambda: np.sin(
            2 * np.pi * (low_hz * time_s + (high_hz - low_hz) * time_s**2 / 2 / duration_s)
        ),
        lambda: np.sin(2 * np.pi * low_hz * time_s) * (np.sin(2 * np.pi * 3 * time_s) > 0),
        lambda: rng.standard_normal(len(time_s)) * np.abs(np.sin(2 * np.pi * 0.5 * time_s)) / 3,
    ]
    mono = 0.4 * kinds[seed % len(kinds)]()
    pan = 0.5 + 0.4 * np.sin(2 * np.pi * 0.2 * time_s)
    return np.stack((mono * pan, mono * (1 - pan)), axis=1).astype(np.float32)


def _write(path: Path, samples: Samples, rate_hz: int) -> None:
    if path.suffix == ".m4a":
        _write_aac(path, samples, rate_hz)
        return
    subtype = {".opus": "OPUS", ".ogg": "VORBIS"}.get(path.suffix)
    container = "OGG" if subtype else path.suffix[1:].upper()
    with soundfile.SoundFile(
        path, "w", rate_hz, samples.shape[1], subtype, format=container
    ) as file:
        # The Vorbis encoder of libsndfile cannot take a long recording in a single call.
        for start in range(0, len(samples), rate_hz):
            file.write(samples[start : start + rate_hz])


def _write_aac(path: Path, samples: Samples, rate_hz: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate_hz, layout="stereo")
        planes = np.ascontiguousarray(samples.T)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def main() -> int:
    """Make the corpus, embed and verify it, show some rows, and return the exit code."""
    out = Console(markup=False, highlight=False, soft_wrap=True)
    corpus, table = FOLDER / "corpus", FOLDER / "table"
    out.print(f"corpus: {make_corpus(corpus)} files in {corpus}, two of them damaged on purpose")
    code = _embed(corpus, table, out)
    if code:
        return code
    out.print(f"\npasstream verify {table} --source {corpus}")
    code = run_verify(str(table), [str(corpus)], False, out, SourceOptions())
    _show_rows(table, out)
    return code


def _embed(corpus: Path, table: Path, out: Console) -> int:
    """Run `passtream embed`, with random weights where the published ones cannot be downloaded."""
    settings = EmbedConfig(
        sources=(str(corpus),),
        table=str(table),
        shard_clips=8,
        tables=("clips", "windows"),
        max_error_ratio=0.1,  # two of the 23 files are damaged
    )
    existing = Table.read(LocalStore(table))
    if existing is None or existing.spec.routes[0].weights_origin == "published":
        try:
            with stop_signals() as stop:
                return run_embed(settings, out, RunLog(out), stop)
        except WeightsUnavailableError as error:
            out.print(
                f"\n{error.reason}\n\nTHE DEMO CONTINUES WITH RANDOM WEIGHTS: --weights random:0\n"
            )
    with_random_weights = settings.model_copy(update={"weights": "random:0"})
    with stop_signals() as stop:
        return run_embed(with_random_weights, out, RunLog(out), stop)


def _show_rows(table: Path, out: Console) -> None:
    columns = ("uri", "duration_s", "n_windows", "embedding")
    rows = pq.read_table(table / "clips", columns=list(columns)).slice(0, SHOWN_ROWS).to_pylist()
    shown = RichTable(title=f"\npyarrow.parquet.read_table('{table}/clips')", title_justify="left")
    for column in columns:
        shown.add_column(column, no_wrap=True)
    for row in rows:
        vector = ", ".join(f"{value:.3f}" for value in row["embedding"][:3])
        shown.add_row(
            Path(row["uri"]).name,
            f"{row['duration_s']:.3f}",
            str(row["n_windows"]),
            f"[{vector}, ...] ({len(row['embedding'])})",
        )
    out.print(shown)
    for row in pq.read_table(table / "errors").to_pylist():
        out.print(f"error: {row['class']}: {row['message']}")


if __name__ == "__main__":
    sys.exit(main())
