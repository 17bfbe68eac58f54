"""Helpers of the end-to-end tests: run the command in a process, write recordings, read tables."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow.parquet as pq
import soundfile

from models.archs import arch_spec
from pipeline.maintenance.verify import verify_table
from pipeline.maintenance.verify_report import Report
from pipeline.table.store.local import LocalStore
from pipeline.table.table import Table
from tests import warm

ROOT = Path(__file__).parents[1]
# An arch with a third of the default arch's tokens, for tests that do not depend on the stride.
FAST_ARCH = "passt_s_p16_s16_128_ap468"
FAST = ("--arch", FAST_ARCH, "--weights", "random:0")
# The first block of that arch, for tests that do not depend on the model. `tests/site` registers it
# in every command that the tests start, and in the workers of Ray.
QUICK_ARCH = "one_block"
QUICK_SPEC = replace(arch_spec(FAST_ARCH), name=QUICK_ARCH, depth=1)
QUICK = ("--arch", QUICK_ARCH, "--weights", "random:0")
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT / "tests" / "site"), str(ROOT), os.environ.get("PYTHONPATH", "")]
).rstrip(os.pathsep)
# The tests seal the settings of tables with their own key, not with the key of the user.
os.environ["XDG_CONFIG_HOME"] = os.path.join(
    tempfile.gettempdir(), f"passtream-tests-{os.getuid()}", "config"
)
# A shell makes background processes ignore SIGINT, and the processes that they start inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
RUN_TIMEOUT_S = 600
# Gives all archs a single block, in the command and in Ray's workers.
ONE_BLOCK_EACH = {"ONE_BLOCK_EACH": "1"}
# Variables that Python and its libraries read only when they start.
READ_AT_THE_START = {"PYTHONPATH", "OMP_NUM_THREADS", *ONE_BLOCK_EACH}

Samples = npt.NDArray[np.float32]


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "jobs.cli", *map(str, args)]


def passtream(
    *args: object,
    prefix: Sequence[str] = (),
    env: dict[str, str] | None = None,
    fresh_process: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end.

    Args:
        args: Arguments of the command.
        prefix: Arguments to put before the command line, such as `unprivileged_prefix`.
        env: Environment variables to add.
        fresh_process: Whether to start a new Python instead of forking a prepared one.
    """
    is_plain = not fresh_process and not prefix and not (env or {}).keys() & READ_AT_THE_START
    if is_plain:
        return warm.run([*map(str, args)], ROOT, os.environ | (env or {}), RUN_TIMEOUT_S)
    return subprocess.run(
        [*prefix, *command(*args)],
        cwd=ROOT,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )


def start_passtream(
    *args: object, log: Path, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start the command in its own session; its output goes to `log`."""
    with log.open("w") as file:
        return subprocess.Popen(
            command(*args),
            cwd=ROOT,
            env=os.environ | (env or {}),
            stdout=file,
            stderr=file,
            text=True,
            start_new_session=True,
        )


def unprivileged_prefix() -> tuple[str, ...]:
    """Return a `prefix` for `passtream` with which root obeys the permissions of files."""
    if os.geteuid():
        return ()
    powers = "-dac_override,-dac_read_search"
    return ("setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}")


def wait_until(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not true after {timeout_s} s"
        time.sleep(0.02)


def children(pid: int, name: str = "") -> list[psutil.Process]:
    """Return the descendants of process `pid` whose command line contains `name`."""
    try:
        descendants = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    found = []
    for process in descendants:
        try:
            if name in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_session(process: subprocess.Popen[str]) -> None:
    """Kill a process and all of its descendants."""
    for each in [*children(process.pid), process]:
        try:
            each.kill()
        except psutil.Error:
            continue
    process.wait()


def signal_process(process: subprocess.Popen[str], number: signal.Signals) -> None:
    os.kill(process.pid, number)


def tone(duration_s: float, rate_hz: int, seed: int = 0) -> Samples:
    """Return a mono chord with a little noise, different for every seed."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in rng.uniform(80, 3000, 4))
    noise = 0.05 * rng.standard_normal(len(time_s))
    return (0.15 * chord + noise).astype(np.float32)


def write_tones(folder: Path, durations_s: Iterable[float], rate_hz: int = 32_000) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed, duration_s in enumerate(durations_s):
        paths.append(folder / f"{seed:03}.wav")
        soundfile.write(paths[-1], tone(duration_s, rate_hz, seed), rate_hz, subtype="FLOAT")
    return paths


def open_table(folder: Path) -> Table:
    table = Table.read(LocalStore(folder))
    assert table is not None
    return table


def n_commits(folder: Path) -> int:
    return len(list((folder / "_passtream" / "commits").glob("*.json")))


def assert_verified(folder: Path) -> Report:
    report = verify_table(open_table(folder))
    assert report.passed, report.problems
    return report


def vectors(folder: Path, column: str = "embedding") -> dict[str, Samples]:
    """Return the vectors of the table `clips` by uri, as any Parquet reader would read them."""
    rows = pq.read_table(folder / "clips", columns=["uri", column])
    uris = rows["uri"].to_pylist()
    assert len(set(uris)) == len(uris)
    matrix = np.array(rows[column].to_pylist(), np.float32)
    return dict(zip(uris, matrix, strict=True))


def error_rows(folder: Path) -> dict[str, tuple[str, str]]:
    """Return class and message of each row of the table `errors`, by uri."""
    files = sorted((folder / "errors").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    found = {row["uri"]: (row["class"], row["message"]) for row in rows}
    assert len(found) == len(rows)
    return found


def assert_same_vectors(one: dict[str, Samples], other: dict[str, Samples], within: float) -> None:
    assert one.keys() == other.keys()
    for uri, vector in one.items():
        np.testing.assert_allclose(vector, other[uri], rtol=0, atol=within, err_msg=uri)
