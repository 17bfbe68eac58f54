"""`passtream submit` and `passtream job`: runs on a cluster through Ray Jobs, from anywhere."""

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
    # Not before it is needed: Ray takes seconds to import, and a bad setting is told at once.
    from ray.job_submission import JobDetails

    from jobs.submit.job_client import JobClient

STOP_LIMIT_S = STOP_WAIT_S + 60.0
_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ROW = "{:<32} {:<9} {:<19} {:>5}  {}"

Address = Annotated[
    str | None,
    typer.Option(
        help="URL of the dashboard of the cluster's head, as http://HOST:8265; else "
        "RAY_API_SERVER_ADDRESS, or RAY_ADDRESS where that is a URL, else this machine's. "
        "RAY_AUTH_MODE=token with RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN where it wants a token."
    ),
]
Job = Annotated[str, typer.Argument(metavar="JOB", help="As `submit` and `job list` name it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

job_app = typer.Typer(
    help="Look at, follow and stop jobs that were submitted to a cluster.", no_args_is_help=True
)


def submit(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG.yaml",
            help="Settings of `embed`. The file travels to the cluster with its storage_options. "
            "Ray's list of jobs does not show it, and the job removes it from the nodes; but who "
            "may run jobs there can read it.",
        ),
    ],
    address: Address = None,
    installed: Annotated[
        bool,
        typer.Option(
            "--installed",
            help="The nodes have passtream: send the settings alone. Else its packages travel as "
            "well, and the nodes need what it depends on.",
        ),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Print the job's name and leave it running.")
    ] = False,
    submission_id: Annotated[
        str | None, typer.Option(help="Name of the job; else it gets a new one.")
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A variable for the job; NAME alone hands on this environment's; repeatable. Ray "
            "shows them with the job: credentials are better given to the nodes as a role, or as "
            "storage_options in the file.",
        ),
    ] = None,
    num_cpus: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="CPUs to keep for the driver, which any node may run then; else the head does.",
        ),
    ] = None,
) -> None:
    """Embed on a Ray cluster: submit a job, show its log, end with its exit code.

    Ctrl-C leaves the job running; `passtream job` follows and stops it.
    """
    name = submission_id or f"passtream-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    if not _JOB_NAME.fullmatch(name):
        raise UsageError(f"--submission-id: letters, digits, '.', '_' and '-' (got {name!r})")
    err = console(sys.stderr)
    with prepare_submission(config, parse_env(env or ()), installed) as sent:
        client = _client(address)
        from jobs.submit.job_client import ClusterLostError

        try:
            client.submit(sent, name, num_cpus)
        except ClusterLostError as error:
            raise ClusterLostError(
                f"{client.address}: {error}; whether job {name} was submitted: "
                f"{_command('status', name, client)}"
            ) from error
        for note in sent.notes:
            err.print(note)
    err.print(f"submitted to {client.address}: job {name}")
    if no_wait:
        _tell_how_to_go_on(name, client)
        print(name)
    else:
        _follow(client, name)


@job_app.command(epilog=examples("job status"))
def status(job: Job, address: Address = None, as_json: AsJson = False) -> None:
    """Tell how a job is doing; `passtream status TABLE` tells how far it is."""
    details = _client(address).details(job)
    if as_json:
        print(json.dumps(_described(details), indent=1))
        return
    out = console(sys.stdout)
    for name, value in _described(details).items():
        if value not in (None, ""):
            print_row(out, name, str(value), 17)


@job_app.command(epilog=examples("job logs"))
def logs(
    job: Job,
    address: Address = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Until the job has ended, and end with its exit code."),
    ] = False,
) -> None:
    """Print what a job has printed."""
    client = _client(address)
    if follow:
        _follow(client, job)
    _show(client.logs(job))


@job_app.command(epilog=examples("job stop"))
def stop(job: Job, address: Address = None) -> None:
    """Stop a job, and wait until it has: what is finished is committed."""
    client, err = _client(address), console(sys.stderr)
    details = client.details(job)
    if details.status.is_terminal():
        err.print(f"job {job} has ended before: {details.status}")
        return
    deadline = time.monotonic() + STOP_LIMIT_S
    while not details.status.is_terminal():
        if time.monotonic() > deadline:
            raise PipelineError(
                f"job {job}: told to stop {STOP_LIMIT_S:g} s ago, and still {details.status}; one "
                "that waits for a node stops when it has one"
            )
        client.stop(job)
        time.sleep(0.5)
        details = client.details(job)
    from jobs.submit.log_follower import end_text

    err.print(f"job {job} {end_text(details)}")


@job_app.command("list", epilog=examples("job list"))
def list_jobs(address: Address = None, as_json: AsJson = False) -> None:
    """The jobs that were submitted to a cluster, the latest ones last."""
    found = [each for each in _client(address).list_jobs() if each.submission_id]
    found.sort(key=lambda each: each.start_time or 0)
    described = [_described(each) for each in found]
    if as_json:
        print(json.dumps(described, indent=1))
        return
    out = console(sys.stdout)
    out.print(_ROW.format("job", "status", "began (UTC)", "exit", "table, or what it runs"))
    for each in described:
        code = "" if each["exit_code"] is None else each["exit_code"]
        began = each["began"][:19].replace("T", " ")
        what = each.get("table") or each["entrypoint"]
        print_line(out, _ROW.format(each["job"], each["status"], began, code, what))


def _client(address: str | None) -> "JobClient":
    from jobs.submit.job_client import JobClient

    return JobClient(address)


def _follow(client: "JobClient", job: str) -> None:
    """Show a job's log to its end, and exit as it did."""
    from jobs.submit.job_client import ClusterLostError
    from jobs.submit.log_follower import end_text, follow_log, job_exit_code

    err = console(sys.stderr)
    try:
        details = follow_log(client, job, _show, err.print)
    except KeyboardInterrupt:
        err.print(f"job {job} goes on without being watched")
        _tell_how_to_go_on(job, client)
        raise typer.Exit(EXIT_STOPPED) from None
    except ClusterLostError:
        _tell_how_to_go_on(job, client)
        raise
    err.print(f"job {job} {end_text(details)}")
    raise typer.Exit(job_exit_code(details))


def _show(text: str) -> None:
    print(text, end="", flush=True)


def _tell_how_to_go_on(job: str, client: "JobClient") -> None:
    err = console(sys.stderr)
    err.print(f"follow it: {_command('logs --follow', job, client)}")
    err.print(f"stop it: {_command('stop', job, client)}")


def _command(action: str, job: str, client: "JobClient") -> str:
    return f"passtream job {action} {job} --address {client.address}"


def _described(job: "JobDetails") -> dict[str, Any]:
    """A job for people and programs; without its environment, which may hold credentials."""
    from jobs.submit.log_follower import end_text, job_exit_code

    has_ended = job.status.is_terminal()
    told = end_text(job) if has_ended else job.message
    return {
        "job": job.submission_id or job.job_id,
        "status": str(job.status),
        "began": _moment(job.start_time),
        "ended": _moment(job.end_time),
        "exit_code": job_exit_code(job) if has_ended else None,
        "message": redact(told or "", {}),
        "entrypoint": redact(job.entrypoint, {}),
        **{name: value for name, value in (job.metadata or {}).items() if name in METADATA},
    }


def _moment(at_ms: int | None) -> str:
    """Milliseconds since 1970 in words."""
    return "" if not at_ms else datetime.fromtimestamp(at_ms / 1000, UTC).isoformat("T", "seconds")
