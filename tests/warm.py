"""The command in a process that is forked from one which has torch loaded already.

Loading it takes seconds of a processor, and the tests start the command a hundred times and more.
What runs is the same: `main`, with its arguments, folder and environment, in a process of
its own that writes to files of its own.
"""

import atexit
import contextlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["tests.warm_imports"])


def run(
    arguments: Sequence[str], folder: Path, env: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run `passtream` to its end."""
    with contextlib.ExitStack() as stack:
        out, err = (stack.enter_context(tempfile.NamedTemporaryFile()) for _ in range(2))
        process = _FORKING.Process(
            target=_main, args=(arguments, str(folder), dict(env), out.name, err.name)
        )
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), timeout_s)
        code = process.exitcode
        process.close()
        said = (Path(file.name).read_text() for file in (out, err))
        return subprocess.CompletedProcess(list(arguments), code, *said)


def _main(arguments: Sequence[str], folder: str, env: dict[str, str], out: str, err: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    for number, name in ((0, os.devnull), (1, out), (2, err)):
        handle = os.open(name, os.O_RDWR | os.O_APPEND)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, closefd=False)  # noqa: SIM115 (for as long as the process lives)
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    sys.argv = ["passtream", *arguments]
    from jobs.cli.main import main

    try:
        main()
    finally:
        # A process of multiprocessing's ends without them.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
