"""Entry point of the `passtream` command: checks that its own packages will be imported, and runs.

passtream's packages have names that other projects use as well (`jobs`, `models`, `pipeline`).
If Python would find a package of another project first, because of `PYTHONPATH` or because it was
installed over passtream, the command ends with a message instead of running a mixture of both.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

_PACKAGES = ("jobs", "models", "pipeline")
_EXIT_USAGE = 2
_OWN_ENVIRONMENT = "or install passtream into an environment of its own (uv tool install)"


def main() -> None:
    """Run the command."""
    _drop_relative_folders()
    for name in _PACKAGES:
        if (found := _find_folder(name)) != Path(__file__).resolve().parent / name:
            _exit_with_usage_error(
                f"the package {name!r} would be imported from {found}, which is not passtream's; "
                f"unset PYTHONPATH if it names that project, {_OWN_ENVIRONMENT}"
            )
    from jobs.runtime.process_title import hide_credentials

    hide_credentials()
    try:
        from jobs.cli.main import main as run
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        _exit_with_usage_error(
            f"parts of passtream are missing or replaced ({error}); another package may have "
            f"been installed over it: install passtream again, {_OWN_ENVIRONMENT}"
        )
    run()


def _drop_relative_folders() -> None:
    """Remove relative folders of PYTHONPATH from this process and from the processes it starts.

    An empty part of PYTHONPATH, as in `PYTHONPATH=:/mine`, means the folder in which a command is
    started. That folder may be a corpus of strangers, with Python modules among the recordings.
    """
    given = os.environ.get("PYTHONPATH", "")
    parts = given.split(os.pathsep)
    kept = [part for part in parts if os.path.isabs(part)]
    if not given or kept == parts:
        return
    own = os.path.dirname(os.path.abspath(__file__))
    dropped = {os.path.abspath(part) for part in parts} - {own, *map(os.path.abspath, kept)}
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) not in dropped]
    os.environ["PYTHONPATH"] = os.pathsep.join(kept)


def _find_folder(name: str) -> Path | None:
    """Return the folder from which a package would be imported, or None if there is no package."""
    spec = find_spec(name)
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    return Path(folders[0] if folders else str(spec.origin)).resolve()


def _exit_with_usage_error(reason: str) -> NoReturn:
    print(f"passtream: {reason}", file=sys.stderr)
    sys.exit(_EXIT_USAGE)
