"""`python -m jobs.embed`: `passtream embed`, as jobs are submitted where it is not installed."""

import sys

from jobs.cli.main import main

if __name__ == "__main__":
    sys.argv.insert(1, "embed")
    main()
