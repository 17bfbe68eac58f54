"""One process of the fuzzer: damages files, checks each, and says so on standard output.

Run as `python -m tests.fuzz.worker FOLDER SEED FIRST STEP N`: files FIRST, FIRST + STEP, ... of the
sequence that SEED makes. It prints a JSON line before each file and one after it. What libraries of
decoders print goes to standard error.
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

_MOST_GROWTH_BYTES = MEMORY_BYTES + (512 << 20)
"""Memory that the process may gain in all; what is beyond the decoders is ours."""


def main(folder: Path, seed: int, first: int, step: int, n_files: int) -> None:
    """Check `n_files` damaged files."""
    seeds = make_seeds()
    names = sorted(seeds)
    watch = Watch(folder)
    most_bytes = _peak_bytes() + _MOST_GROWTH_BYTES
    for index in range(first, first + step * n_files, step):
        rng = random.Random(f"{seed}-{index}")
        name = rng.choice(names)
        path = folder / f"{index:08}-{name}"
        path.write_bytes(mutate(seeds[name], [seeds[each] for each in names], rng))
        _say(file=path.name)
        fault, became = "", ""
        try:
            became = check_file(path, watch)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{type(error).__name__}: {error}"
            fault = f"{said} ({os.path.basename(where.filename)}:{where.lineno})"
        if not fault and _peak_bytes() > most_bytes:
            fault = f"the process has taken {_peak_bytes() >> 20} MiB"
        _say(became=became, fault=fault)
        if not fault:
            path.unlink()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _say(**what: str) -> None:
    print(json.dumps(what), flush=True, file=_OWN)


if __name__ == "__main__":
    _OWN = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
