"""passtream installed from a wheel, and folders whose modules record that they were imported."""

import os
import subprocess
import sys
import venv
from pathlib import Path

from tests.support import ROOT, RUN_TIMEOUT_S

SOURCES = ("jobs", "models", "pipeline", "passtream.py", "pyproject.toml", "README.md", "LICENSE")
# Modules that a run or one of Ray's processes imports.
DEPENDENCIES = ("numpy", "torch", "soundfile", "av", "pyarrow", "grpc", "psutil", "aiohttp", "yaml")
# Modules that Python imports at its start, if it finds them.
CUSTOM = ("sitecustomize", "usercustomize")
# Packages whose names other projects may use.
PACKAGES = ("jobs", "models", "pipeline", "ray", "passtream")


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the sources, because building leaves files beside them."""
    copy = folder / "sources"
    copy.mkdir()
    for name in SOURCES:
        subprocess.run(["cp", "-r", ROOT / name, copy], check=True)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    run_pip("wheel", *options, "--wheel-dir", folder, copy)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install_wheel(wheel: Path, folder: Path) -> Path:
    """Install a wheel into a new environment that uses all other packages of this one.

    Returns:
        The path of the installed `passtream` command.
    """
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    borrowed = [each for each in sys.path if each.endswith("site-packages")]
    (site / "borrowed.pth").write_text("".join(f"{each}\n" for each in borrowed))
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    run_pip("--python", folder / "bin" / "python", "install", *options, wheel)
    return folder / "bin" / "passtream"


def run_pip(*args: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", *map(str, args)],
        check=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        timeout=RUN_TIMEOUT_S,
    )


def write_traps(folder: Path, alarm: Path) -> None:
    """Write modules and packages that append their name to `alarm` when they are imported."""
    note = f"with open({str(alarm)!r}, 'a') as file: file.write(__name__ + ' ')\n"
    for name in (*DEPENDENCIES, *CUSTOM):
        # Python would report a customization module that fails; the recorded import is enough.
        fails = "" if name in CUSTOM else "raise ImportError('a trap')\n"
        (folder / f"{name}.py").write_text(note + fails)
    for name in PACKAGES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(note)


def run_installed(
    program: Path, *args: object, folder: Path, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder, without the checkout on its path."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [program, *map(str, args)],
        cwd=folder,
        env=clean | env,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
    )
