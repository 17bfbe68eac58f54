"""`python -m jobs.embed` does the same as `passtream embed`.

Submitted Ray jobs use it, because their machines may not have the `passtream` command installed.
"""

import sys

from jobs.cli.main import main

if __name__ == "__main__":
    sys.argv.insert(1, "embed")
    main()
