"""`python -m jobs.cli`: the `passtream` command where it is not installed."""

from jobs.runtime.process_title import hide_credentials

hide_credentials()  # before the imports of a run, as `passtream.main` does

from jobs.cli.main import main  # noqa: E402

if __name__ == "__main__":
    main()
