"""Damaged files by the thousand, through listing, opening, planning and decoding.

`make fuzz` runs for FUZZ_S seconds; FUZZ_SEED makes the same files again. Files at which something
was found are kept in `build/fuzz`. A few hundred files of a fixed seed are checked in every run of
the tests.
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
"""No file of this size may take as long, on a busy machine."""
FILES_PER_PROCESS = 400
N_PROCESSES = 2


class Fuzzer:
    """Runs worker processes, and takes down what they find.

    Args:
        folder: Takes the damaged files; what is left there at the end is what was found.
        seed: Makes all choices.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.became: Counter[str] = Counter()
        self.faults: dict[str, str] = {}
        self._folder = folder
        self._seed = seed
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def n_files(self) -> int:
        return self.became.total() + len(self.faults)

    def run_for(self, seconds: float) -> None:
        """Check damaged files until the time is over."""
        deadline, first = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            self.run(first, FILES_PER_PROCESS, deadline)
            first += N_PROCESSES * FILES_PER_PROCESS

    def run(self, first: int, n_files: int, deadline: float = float("inf")) -> None:
        """Check `n_files` files in each process."""
        workers = [
            subprocess.Popen(
                self._command(first + each, n_files),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
            for each in range(N_PROCESSES)
        ]
        files = dict.fromkeys(workers, "")
        heard = dict.fromkeys(workers, time.monotonic())
        stopped: set[subprocess.Popen[bytes]] = set()
        while workers:
            ready, _, _ = select.select([each.stdout for each in workers], [], [], 1.0)
            now = time.monotonic()
            for worker in list(workers):
                if worker.stdout in ready:
                    heard[worker] = now
                    line = worker.stdout.readline()
                    if line:
                        if worker not in stopped:
                            files[worker] = self._take(json.loads(line), files[worker])
                        continue
                    workers.remove(worker)
                    self._ended(worker, files[worker])
                elif now - heard[worker] > FILE_TIMEOUT_S:
                    self.faults[files[worker]] = f"took longer than {FILE_TIMEOUT_S} s"
                    files[worker] = ""
                    worker.kill()
                elif now > deadline:
                    stopped.add(worker)
                    files[worker] = ""
                    worker.kill()

    def _command(self, first: int, n_files: int) -> list[str]:
        numbers = map(str, (self._seed, first, N_PROCESSES, n_files))
        return [sys.executable, "-m", "tests.fuzz.worker", str(self._folder), *numbers]

    def _take(self, said: dict[str, str], file: str) -> str:
        """Note what a worker says; the file that it is at from now on."""
        if "file" in said:
            return said["file"]
        if said["fault"]:
            self.faults[file] = said["fault"]
        else:
            self.became[said["became"]] += 1
        return ""

    def _ended(self, worker: "subprocess.Popen[bytes]", file: str) -> None:
        code = worker.wait()
        worker.stdout.close()
        if file:
            self.faults[file] = f"the process died ({code})"
        elif code > 0:
            self.faults[f"worker of seed {self._seed}"] = f"ended with {code}"

    def report(self) -> str:
        lines = [f"{n:>7,} {name}" for name, n in self.became.most_common()]
        lines += [f"FOUND {file}: {fault}" for file, fault in sorted(self.faults.items())]
        return "\n".join([f"{self.n_files:,} damaged files, seed {self._seed}", *lines])


def test_damaged_files_end_in_rows_or_errors_and_the_plan_agrees(tmp_path):
    fuzzer = Fuzzer(tmp_path / "files", seed=1)
    fuzzer.run(0, 150)
    assert not fuzzer.faults, fuzzer.report()
    assert fuzzer.n_files == 300


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_damaged_files_for_as_long_as_is_asked_for():
    seed = int(os.environ.get("FUZZ_SEED") or secrets.randbelow(1 << 30))
    fuzzer = Fuzzer(ROOT / "build" / "fuzz", seed)
    fuzzer.run_for(float(os.environ.get("FUZZ_S", "600")))
    print(f"\n{fuzzer.report()}")
    assert not fuzzer.faults, fuzzer.report()
