"""Runs the command in a process forked from a server process that has already imported torch.

The import of torch takes seconds of CPU time, and the tests run the command more than a hundred
times. As with a new Python, `main` runs in its own process, with the given arguments, folder and
environment, and its output goes to files.
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

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.warm_imports"])


def run(
    arguments: Sequence[str], folder: Path, env: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run `passtream` to its end in a forked process."""
    with contextlib.ExitStack() as stack:
        out, err = (stack.enter_context(tempfile.NamedTemporaryFile()) for _ in range(2))
        process = _CONTEXT.Process(
            target=_run_main, args=(arguments, str(folder), dict(env), out.name, err.name)
        )
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), timeout_s)
        code = process.exitcode
        process.close()
        texts = (Path(file.name).read_text() for file in (out, err))
        return subprocess.CompletedProcess(list(arguments), code, *texts)


def _run_main(
    arguments: Sequence[str], folder: str, env: dict[str, str], out: str, err: str
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    for number, name in ((0, os.devnull), (1, out), (2, err)):
        handle = os.open(name, os.O_RDWR | os.O_APPEND)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, closefd=False)  # noqa: SIM115 (open until the process ends)
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    sys.argv = ["passtream", *arguments]
    from jobs.cli.main import main

    try:
        main()
    finally:
        # A process of multiprocessing ends without running the exit functions.
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
