"""Entry point of `python -m jobs.cli`: the `passtream` command where it is not installed."""

from jobs.runtime.process_title import hide_credentials

hide_credentials()  # before slow imports, so that other users do not see them meanwhile

from jobs.cli.main import main  # noqa: E402

if __name__ == "__main__":
    main()
