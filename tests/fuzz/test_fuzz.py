"""Fuzz test: thousands of damaged files are listed, planned and decoded.

`make fuzz` runs for FUZZ_S seconds; FUZZ_SEED makes the same files again. Files that led to a
finding are kept in `build/fuzz`. Every test run checks a few hundred files of a fixed seed.
"""

import json
import os
import secrets
import select
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support import ROOT

FILE_TIMEOUT_S = 120
"""Time after which a file counts as a hang, in seconds, even on a busy machine."""
FILES_PER_PROCESS = 400
N_PROCESSES = 2


class Fuzzer:
    """Worker processes that check damaged files, and the results of all of them.

    Args:
        folder: Folder for the damaged files. At the end it holds the files with findings.
        seed: Seed of all random choices.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.faults: dict[str, str] = {}
        self._folder = folder
        self._seed = seed
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def n_files(self) -> int:
        return self.outcomes.total() + len(self.faults)

    def run_for(self, seconds: float) -> None:
        """Check damaged files for `seconds`."""
        deadline, first_index = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            self.run(first_index, FILES_PER_PROCESS, deadline)
            first_index += N_PROCESSES * FILES_PER_PROCESS

    def run(self, first_index: int, n_files: int, deadline: float = float("inf")) -> None:
        """Check `n_files` files in each process, or fewer if the deadline passes."""
        workers = [
            subprocess.Popen(
                self._command(first_index + each, n_files),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            for each in range(N_PROCESSES)
        ]
        current_files = dict.fromkeys(workers, "")
        last_line_s = dict.fromkeys(workers, time.monotonic())
        stopped: set[subprocess.Popen[bytes]] = set()
        while workers:
            ready, _, _ = select.select([each.stdout for each in workers], [], [], 1.0)
            now = time.monotonic()
            for worker in list(workers):
                if worker.stdout in ready:
                    last_line_s[worker] = now
                    line = worker.stdout.readline()
                    if line:
                        if worker not in stopped:
                            current_files[worker] = self._record(
                                json.loads(line), current_files[worker]
                            )
                        continue
                    workers.remove(worker)
                    self._record_end(worker, current_files[worker])
                elif now - last_line_s[worker] > FILE_TIMEOUT_S:
                    self.faults[current_files[worker]] = f"took longer than {FILE_TIMEOUT_S} s"
                    current_files[worker] = ""
                    worker.kill()
                elif now > deadline:
                    stopped.add(worker)
                    current_files[worker] = ""
                    worker.kill()

    def _command(self, first_index: int, n_files: int) -> list[str]:
        numbers = map(str, (self._seed, first_index, N_PROCESSES, n_files))
        return [sys.executable, "-m", "tests.fuzz.worker", str(self._folder), *numbers]

    def _record(self, line: dict[str, str], file: str) -> str:
        """Record a line of a worker; return the file that the worker is now processing, if any."""
        if "file" in line:
            return line["file"]
        if line["fault"]:
            self.faults[file] = line["fault"]
        else:
            self.outcomes[line["outcome"]] += 1
        return ""

    def _record_end(self, worker: "subprocess.Popen[bytes]", file: str) -> None:
        code = worker.wait()
        worker.stdout.close()
        if file:
            self.faults[file] = f"the process died ({code})"
        elif code > 0:
            self.faults[f"worker of seed {self._seed}"] = f"ended with {code}"

    def report(self) -> str:
        lines = [f"{n:>7,} {name}" for name, n in self.outcomes.most_common()]
        lines += [f"FOUND {file}: {fault}" for file, fault in sorted(self.faults.items())]
        return "\n".join([f"{self.n_files:,} damaged files, seed {self._seed}", *lines])


def test_damaged_files_end_in_rows_or_errors_and_the_plan_agrees(tmp_path):
    fuzzer = Fuzzer(tmp_path / "files", seed=1)
    fuzzer.run(0, 150)
    assert not fuzzer.faults, fuzzer.report()
    assert fuzzer.n_files == 300


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_random_damaged_files_for_fuzz_s_seconds():
    seed = int(os.environ.get("FUZZ_SEED") or secrets.randbelow(1 << 30))
    fuzzer = Fuzzer(ROOT / "build" / "fuzz", seed)
    fuzzer.run_for(float(os.environ.get("FUZZ_S", "600")))
    print(f"\n{fuzzer.report()}")
    assert not fuzzer.faults, fuzzer.report()
