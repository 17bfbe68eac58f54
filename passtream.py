"""Entry point of the `passtream` command: what has to happen before the imports of a run.

The packages that it runs have names that other projects use as well (`jobs`, `models`, `pipeline`).
Where another one is found first, by `PYTHONPATH` or because it was installed over ours, the command
says so instead of running half of each.
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
        if (found := _folder_of(name)) != Path(__file__).resolve().parent / name:
            _refuse(
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
        _refuse(
            f"parts of passtream are missing or replaced ({error}); another package may have "
            f"been installed over it: install passtream again, {_OWN_ENVIRONMENT}"
        )
    run()


def _drop_relative_folders() -> None:
    """Take folders off the path, here and in processes to come, that depend on the current one.

    An empty part of PYTHONPATH, as in `PYTHONPATH=:/mine`, stands for whatever folder a command is
    started in; that may hold a corpus, with modules in it.
    """
    given = os.environ.get("PYTHONPATH", "")
    parts = given.split(os.pathsep)
    kept = [part for part in parts if os.path.isabs(part)]
    if not given or kept == parts:
        return
    ours = os.path.dirname(os.path.abspath(__file__))
    dropped = {os.path.abspath(part) for part in parts} - {ours, *map(os.path.abspath, kept)}
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) not in dropped]
    os.environ["PYTHONPATH"] = os.pathsep.join(kept)


def _folder_of(name: str) -> Path | None:
    """Return the folder that a package would be imported from; None where there is none."""
    spec = find_spec(name)
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    return Path(places[0] if places else str(spec.origin)).resolve()


def _refuse(reason: str) -> NoReturn:
    print(f"passtream: {reason}", file=sys.stderr)
    sys.exit(_EXIT_USAGE)
