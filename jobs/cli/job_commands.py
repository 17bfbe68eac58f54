"""The commands `passtream submit` and `passtream job`, which run `embed` through Ray Jobs."""

import json
import re
import secrets
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.examples import examples
from jobs.cli.options import console
from jobs.runtime.run_log import EXIT_STOPPED
from jobs.runtime.terminal import print_line, print_row
from jobs.submit.submission import METADATA, STOP_WAIT_S, parse_env, prepare_submission
from pipeline.errors import PipelineError, UsageError
from pipeline.io.redaction import redact

if TYPE_CHECKING:
    # Imported only where it is used: Ray takes seconds to import, and a wrong setting is reported
    # before that.
    from ray.job_submission import JobDetails

    from jobs.submit.job_client import JobClient

STOP_LIMIT_S = STOP_WAIT_S + 60.0
"""Time after which `passtream job stop` stops waiting for the job to end, in seconds."""
_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ROW = "{:<32} {:<9} {:<19} {:>5}  {}"

Address = Annotated[
    str | None,
    typer.Option(
        help="URL of the dashboard on the cluster's head node, such as http://HOST:8265. Default: "
        "RAY_API_SERVER_ADDRESS, or RAY_ADDRESS if it is a URL, else the one of this machine. "
        "If the cluster requires a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH or "
        "RAY_AUTH_TOKEN."
    ),
]
Job = Annotated[
    str, typer.Argument(metavar="JOB", help="Name of the job, as shown by `submit` and `job list`.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

job_app = typer.Typer(
    help="Show, follow and stop jobs that were submitted to a cluster.", no_args_is_help=True
)


def submit(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG.yaml",
            help="Settings of `embed`. The file is sent to the cluster with its storage_options. "
            "Ray's list of jobs does not show it, and the job removes it from the nodes; but "
            "anyone who may run jobs there can read it.",
        ),
    ],
    address: Address = None,
    installed: Annotated[
        bool,
        typer.Option(
            "--installed",
            help="Send only the settings, because the nodes have passtream installed. Default: its "
            "packages are sent as well, and the nodes need only its dependencies.",
        ),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Print the job's name and leave it running.")
    ] = False,
    submission_id: Annotated[
        str | None, typer.Option(help="Name of the job; default: a new name.")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Environment variable of the job; NAME alone passes on its value here; "
            "repeatable. Ray shows these variables with the job, so give credentials to the nodes "
            "as a role, or as storage_options in the file.",
        ),
    ] = None,
    num_cpus: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="CPUs to reserve for the driver, which may then run on any node; default: none, "
            "and it runs on the head node.",
        ),
    ] = None,
) -> None:
    """Embed on a Ray cluster: submit a job, show its log, and exit with its exit code.

    Ctrl-C leaves the job running; use `passtream job` to follow or stop it.
    """
    name = submission_id or f"passtream-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    if not _JOB_NAME.fullmatch(name):
        raise UsageError(
            "--submission-id must be 1 to 100 letters, digits, '.', '_' and '-', and start with a "
            f"letter or digit (got {name!r})"
        )
    err = console(sys.stderr)
    with prepare_submission(config, parse_env(env or ()), installed) as prepared:
        client = _client(address)
        from jobs.submit.job_client import ClusterLostError

        try:
            client.submit(prepared, name, num_cpus)
        except ClusterLostError as error:
            raise ClusterLostError(
                f"{client.address}: {error}; to see whether job {name} was submitted: "
                f"{_command('status', name, client)}"
            ) from error
        for note in prepared.notes:
            err.print(note)
    err.print(f"submitted to {client.address}: job {name}")
    if no_wait:
        _print_next_commands(name, client)
        print(name)
    else:
        _follow(client, name)


@job_app.command(epilog=examples("job status"))
def status(job: Job, address: Address = None, as_json: AsJson = False) -> None:
    """Show the status of a job; its progress is shown by `passtream status TABLE`."""
    details = _client(address).details(job)
    if as_json:
        print(json.dumps(_job_facts(details), indent=1))
        return
    out = console(sys.stdout)
    for name, value in _job_facts(details).items():
        if value not in (None, ""):
            print_row(out, name, str(value), 17)


@job_app.command(epilog=examples("job logs"))
def logs(
    job: Job,
    address: Address = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", help="Follow the log until the job ends, and exit with its exit code."
        ),
    ] = False,
) -> None:
    """Print the log of a job."""
    client = _client(address)
    if follow:
        _follow(client, job)
    _print_log(client.logs(job))


@job_app.command(epilog=examples("job stop"))
def stop(job: Job, address: Address = None) -> None:
    """Stop a job, and wait until it has stopped; finished shards stay committed."""
    client, err = _client(address), console(sys.stderr)
    details = client.details(job)
    if details.status.is_terminal():
        err.print(f"job {job} has already ended: {details.status}")
        return
    deadline = time.monotonic() + STOP_LIMIT_S
    while not details.status.is_terminal():
        if time.monotonic() > deadline:
            raise PipelineError(
                f"job {job} was asked to stop {STOP_LIMIT_S:g} s ago and is still "
                f"{details.status}; a job that waits for a node stops only once it has one"
            )
        client.stop(job)
        time.sleep(0.5)
        details = client.details(job)
    from jobs.submit.log_follower import end_text

    err.print(f"job {job} {end_text(details)}")


@job_app.command("list", epilog=examples("job list"))
def list_jobs(address: Address = None, as_json: AsJson = False) -> None:
    """List the jobs that were submitted to a cluster, the latest last."""
    jobs = [each for each in _client(address).list_jobs() if each.submission_id]
    jobs.sort(key=lambda each: each.start_time or 0)
    all_facts = [_job_facts(each) for each in jobs]
    if as_json:
        print(json.dumps(all_facts, indent=1))
        return
    out = console(sys.stdout)
    out.print(_ROW.format("job", "status", "began (UTC)", "exit", "table or command"))
    for facts in all_facts:
        code = "" if facts["exit_code"] is None else facts["exit_code"]
        began = facts["began"][:19].replace("T", " ")
        target = facts.get("table") or facts["entrypoint"]
        print_line(out, _ROW.format(facts["job"], facts["status"], began, code, target))


def _client(address: str | None) -> "JobClient":
    from jobs.submit.job_client import JobClient

    return JobClient(address)


def _follow(client: "JobClient", job: str) -> None:
    """Print the log of a job until it ends, and exit with its exit code."""
    from jobs.submit.job_client import ClusterLostError
    from jobs.submit.log_follower import end_text, follow_log, job_exit_code

    err = console(sys.stderr)
    try:
        details = follow_log(client, job, _print_log, err.print)
    except KeyboardInterrupt:
        err.print(f"job {job} continues to run")
        _print_next_commands(job, client)
        raise typer.Exit(EXIT_STOPPED) from None
    except ClusterLostError:
        _print_next_commands(job, client)
        raise
    err.print(f"job {job} {end_text(details)}")
    raise typer.Exit(job_exit_code(details))


def _print_log(text: str) -> None:
    print(text, end="", flush=True)


def _print_next_commands(job: str, client: "JobClient") -> None:
    err = console(sys.stderr)
    err.print(f"follow it: {_command('logs --follow', job, client)}")
    err.print(f"stop it: {_command('stop', job, client)}")


def _command(action: str, job: str, client: "JobClient") -> str:
    return f"passtream job {action} {job} --address {client.address}"


def _job_facts(job: "JobDetails") -> dict[str, Any]:
    """Return the facts about a job to print, without its environment, which may have secrets."""
    from jobs.submit.log_follower import end_text, job_exit_code

    has_ended = job.status.is_terminal()
    message = end_text(job) if has_ended else job.message
    return {
        "job": job.submission_id or job.job_id,
        "status": str(job.status),
        "began": _time_text(job.start_time),
        "ended": _time_text(job.end_time),
        "exit_code": job_exit_code(job) if has_ended else None,
        "message": redact(message or "", {}),
        "entrypoint": redact(job.entrypoint, {}),
        **{name: value for name, value in (job.metadata or {}).items() if name in METADATA},
    }


def _time_text(at_ms: int | None) -> str:
    """Format a time in milliseconds since 1970 as ISO 8601; empty for no time."""
    return "" if not at_ms else datetime.fromtimestamp(at_ms / 1000, UTC).isoformat("T", "seconds")
