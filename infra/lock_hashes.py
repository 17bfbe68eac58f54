"""Prints a report of `pip install --report FILE` as a requirements file with hashes.

Packages without a hash are left out. Only passtream has none, as it is installed from its folder.
"""

import json
import sys
from pathlib import Path
from typing import Any


def requirement_line(package: dict[str, Any]) -> str | None:
    """Return a package of the report as `name==version --hash=sha256:…`, or None without a hash."""
    digest = package["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
    metadata = package["metadata"]
    pin = f"{metadata['name']}=={metadata['version']}"
    return f"{pin} --hash=sha256:{digest}" if digest else None


if __name__ == "__main__":
    report = json.loads(Path(sys.argv[1]).read_text())
    lines = [line for each in report["install"] if (line := requirement_line(each))]
    print(*sorted(lines, key=str.lower), sep="\n")
