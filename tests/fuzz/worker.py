"""A process of the fuzzer, which makes damaged files, checks them, and prints the results.

Run as `python -m tests.fuzz.worker FOLDER SEED FIRST STEP N`. It makes N files of the sequence of
SEED: FIRST, FIRST + STEP and so on. It prints a JSON line before each file and another after it.
Standard output of decoder libraries goes to standard error.
"""

import json
import os
import random
import resource
import sys
import traceback
from pathlib import Path

from tests.fuzz.check import MEMORY_BYTES, Watch, check_file
from tests.fuzz.mutate import mutate
from tests.fuzz.seeds import make_seeds

_MAX_GROWTH_BYTES = MEMORY_BYTES + (512 << 20)
"""Maximum growth of the process in bytes: the limit of decoders and an allowance for the rest."""


def main(folder: Path, seed: int, first: int, step: int, n_files: int) -> None:
    """Make and check `n_files` damaged files."""
    seeds = make_seeds()
    names = sorted(seeds)
    watch = Watch(folder)
    max_bytes = _peak_bytes() + _MAX_GROWTH_BYTES
    for index in range(first, first + step * n_files, step):
        rng = random.Random(f"{seed}-{index}")
        name = rng.choice(names)
        path = folder / f"{index:08}-{name}"
        path.write_bytes(mutate(seeds[name], [seeds[each] for each in names], rng))
        _print_line(file=path.name)
        fault, outcome = "", ""
        try:
            outcome = check_file(path, watch)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            description = f"{type(error).__name__}: {error}"
            fault = f"{description} ({os.path.basename(frame.filename)}:{frame.lineno})"
        if not fault and _peak_bytes() > max_bytes:
            fault = f"the process has used {_peak_bytes() >> 20} MiB"
        _print_line(outcome=outcome, fault=fault)
        if not fault:
            path.unlink()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _print_line(**fields: str) -> None:
    print(json.dumps(fields), flush=True, file=_OUTPUT)


if __name__ == "__main__":
    _OUTPUT = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
