"""Memory does not grow with the length of a recording, as recordings are streamed."""

import threading

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.support import FAST, assert_verified, kill_session, start_passtream

RATE_HZ = 44_100
LIMIT_BYTES = 4e9
MAX_GROWTH_BYTES = 300e6
# Number of windows by duration in s, with a window every 60 s and at the end.
WINDOWS = {600: 11, 10_800: 181}
LOW_RATE_HZ = 8_000
SIX_HOURS_S = 21_600

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _write_flac(path, duration_s, rate_hz=RATE_HZ):
    """Write a stereo recording that repeats one minute."""
    time_s = np.arange(60 * rate_hz)[:, None] / rate_hz
    minute = (0.3 * np.sin(2 * np.pi * np.array([[440, 620]]) * time_s)).astype(np.float32)
    with soundfile.SoundFile(path, "w", rate_hz, 2, "PCM_16") as file:
        for _ in range(duration_s // 60):
            file.write(minute)


def _tree_bytes(process):
    """Return the memory of a process and its descendants in bytes, counting shared pages once."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += each.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def _measure_peak_bytes(source, table, log, hop_s=60):
    run = start_passtream("embed", source, table, *FAST, "--hop-s", hop_s, log=log)
    peak, ended = 0, threading.Event()

    def watch():
        nonlocal peak
        process = psutil.Process(run.pid)
        while not ended.wait(0.2):
            try:
                peak = max(peak, _tree_bytes(process))
            except psutil.NoSuchProcess:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        code = run.wait()
    finally:
        ended.set()
        watcher.join()
        kill_session(run)
    assert code == 0, log.read_text()
    return peak


def test_memory_does_not_grow_with_the_length(tmp_path):
    peaks = {}
    for duration_s, n_windows in WINDOWS.items():
        source, table = tmp_path / f"{duration_s}.flac", tmp_path / f"table-{duration_s}"
        _write_flac(source, duration_s)
        peaks[duration_s] = _measure_peak_bytes(source, table, tmp_path / "log")
        report = assert_verified(table)
        assert (report.clips, report.audio_s) == (1, duration_s)
        assert pq.read_table(table / "clips")["n_windows"].to_pylist() == [n_windows]
    print({duration_s: f"{peak / 1e9:.2f} GB" for duration_s, peak in peaks.items()})
    short, long = peaks.values()
    assert long < LIMIT_BYTES
    assert long - short < MAX_GROWTH_BYTES


def test_a_recording_of_six_hours_is_one_clip(tmp_path):
    source, table = tmp_path / "long.flac", tmp_path / "table"
    _write_flac(source, SIX_HOURS_S, LOW_RATE_HZ)
    peak = _measure_peak_bytes(source, table, tmp_path / "log", hop_s=120)
    print(f"{peak / 1e9:.2f} GB")
    report = assert_verified(table)
    assert (report.clips, report.audio_s) == (1, SIX_HOURS_S)
    assert pq.read_table(table / "clips")["n_windows"].to_pylist() == [SIX_HOURS_S // 120 + 1]
    assert peak < LIMIT_BYTES
