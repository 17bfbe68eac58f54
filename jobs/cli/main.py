"""The `passtream` command: parses options, runs a command, and turns errors into exit codes.

An error is printed as one line on standard error, followed by the ways out of it.
"""

import io
import itertools
import sys
from typing import Annotated, Any

import typer

from jobs.cli.bench_commands import bench_app
from jobs.cli.embed_command import embed
from jobs.cli.errors_command import errors
from jobs.cli.examples import examples
from jobs.cli.job_commands import job_app, submit
from jobs.cli.models_commands import models_app
from jobs.cli.options import console
from jobs.cli.plan_command import plan
from jobs.cli.retry_command import retry
from jobs.cli.status_command import status
from jobs.cli.verify_command import verify
from jobs.runtime.run_log import exit_code, json_log
from jobs.runtime.terminal import print_line
from models.errors import ModelError
from pipeline.errors import PipelineError, UsageError

app = typer.Typer(
    name="passtream",
    help="Turn a corpus of audio into Parquet tables of PaSST embeddings.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(""),
    pretty_exceptions_show_locals=False,
)
# Click's UsageError. It is not imported by name, as some versions of Typer contain a copy of click.
_ClickUsageError: Any = typer.BadParameter.__mro__[1]


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(f"passtream {version('passtream')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


app.command(epilog=examples("embed"))(embed)
app.command(epilog=examples("plan"))(plan)
app.command(epilog=examples("errors"))(errors)
app.command(epilog=examples("retry"))(retry)
app.command(epilog=examples("verify"))(verify)
app.command(epilog=examples("status"))(status)
app.command(epilog=examples("submit"))(submit)
app.add_typer(job_app, name="job")
app.add_typer(models_app, name="models")
app.add_typer(bench_app, name="bench")


def main() -> None:
    """Run the command; the entry point of the package."""
    for stream in (sys.stdout, sys.stderr):
        # File names that the encoding of the terminal cannot show must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # A JSON log must also contain errors of the options themselves, which are found before the
    # options are parsed. So this one option is searched for here.
    pairs = itertools.pairwise(sys.argv)
    as_json = "--log-format=json" in sys.argv or ("--log-format", "json") in pairs
    try:
        sys.exit(app(prog_name="passtream", standalone_mode=not as_json))
    except (PipelineError, ModelError) as error:
        err = console(sys.stderr)
        print_line(err, f"passtream: {getattr(error, 'reason', error)}", 4)
        for way_out in getattr(error, "ways_out", ()):
            print_line(err, f"  {way_out}", 4)
        sys.exit(exit_code(error))
    except _ClickUsageError as error:
        with json_log():
            raise UsageError(error.format_message()) from error
