"""Print pip's report of an installation as requirements with hashes: `pip install --report FILE`.

Packages without a hash are left out: that is passtream itself, which is installed from its folder.
"""

import json
import sys
from pathlib import Path
from typing import Any


def pinned(package: dict[str, Any]) -> str | None:
    """Return one package of the report as `name==version --hash=sha256:...`."""
    digest = package["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
    told = package["metadata"]
    return f"{told['name']}=={told['version']} --hash=sha256:{digest}" if digest else None


if __name__ == "__main__":
    report = json.loads(Path(sys.argv[1]).read_text())
    lines = [line for each in report["install"] if (line := pinned(each))]
    print(*sorted(lines, key=str.lower), sep="\n")
