"""Preparation of a config file for a cluster: a folder, a command line and metadata for Ray.

The folder is a temporary one with the packages of this installation and the settings, and nothing
else of this machine. If the nodes have passtream installed, it has only the settings.
"""

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

import jobs
import models
import pipeline
from jobs.runtime.stop_signals import STOP_WAIT_VARIABLE
from jobs.settings.config import EmbedConfig
from jobs.settings.load_config import load_config
from jobs.settings.routing import weights_by_arch
from jobs.settings.sent_config import CONFIG_NAME, write_config
from pipeline.errors import UsageError
from pipeline.io.protocols import is_remote, is_uri
from pipeline.version import passtream_version

PACKAGES = (jobs, models, pipeline)
"""Packages that are sent to the cluster."""
METADATA = ("table", "sources", "passtream_version", "config_sha256")
"""Names of a job's metadata, which Ray shows in its list of jobs."""
STOP_WAIT_S = 30
"""Time between a request to stop and a kill, in seconds; longer than `stop_signals.GRACE_S`."""
_MAX_SHOWN_SOURCES = 5
_EXCLUDED = ("__pycache__", "*.pyc", ".*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that is ready to be submitted.

    Attributes:
        folder: Folder that becomes the working directory of the job.
        entrypoint: Command line of the job.
        env: Environment variables of the job; everyone who may see the job can see them.
        metadata: Facts that Ray's list of jobs shows, by the names in `METADATA`.
        notes: Notes for the person who submits the job.
    """

    folder: Path
    entrypoint: str
    env: Mapping[str, str]
    metadata: Mapping[str, str]
    notes: tuple[str, ...]


@contextlib.contextmanager
def prepare_submission(
    path: Path, env: Mapping[str, str], is_installed: bool
) -> Iterator[Submission]:
    """Open a submission of a config file, whose folder exists within the block.

    Args:
        path: The config file.
        env: Environment variables of the job.
        is_installed: Whether the nodes have passtream installed.

    Raises:
        UsageError: A setting is invalid, or cannot work on a cluster.
    """
    config = load_cluster_config(path)
    given = config.model_dump(mode="json", include=config.model_fields_set)
    with tempfile.TemporaryDirectory(prefix="passtream-") as name:
        folder = Path(name)
        if not is_installed:
            for package in PACKAGES:
                source = Path(str(package.__file__)).parent
                ignore = shutil.ignore_patterns(*_EXCLUDED)
                shutil.copytree(source, folder / source.name, ignore=ignore)
        write_config(folder, given)
        command = ["passtream", "embed"] if is_installed else ["python", "-m", "jobs.embed"]
        yield Submission(
            folder,
            shlex.join([*command, "--config", CONFIG_NAME]),
            {STOP_WAIT_VARIABLE: str(STOP_WAIT_S), **env},
            _metadata(config, given),
            tuple(_notes(config)),
        )


def load_cluster_config(path: Path) -> EmbedConfig:
    """Load the settings of a file, and adapt them for a job on a cluster.

    Args:
        path: The config file.

    Raises:
        UsageError: A setting is invalid, or cannot work on a cluster.
    """
    config = load_config(path, {})
    if config.in_process:
        raise UsageError(
            f"config {str(path)!r}: in_process runs without Ray, but a job runs on a cluster; "
            "leave it out"
        )
    if "address" in config.model_fields_set and config.address != "auto":
        raise UsageError(
            f"config {str(path)!r}: a job runs on the cluster to which it is submitted (got "
            f"address {config.address!r}); leave it out, and name the cluster with --address"
        )
    if "-" in config.sources:
        raise UsageError("sources: a job has no standard input (got '-'); name a manifest")
    for field, location in _local_paths(config):
        if not is_uri(location) and not location.startswith("/"):
            raise UsageError(
                f"{field} {location!r}: a relative path has no meaning on a cluster; use a "
                "URI, or an absolute path that all nodes can read"
            )
    return config.model_copy(update={"address": "auto"})


def parse_env(given: Iterable[str]) -> dict[str, str]:
    """Parse values of `--env`: NAME=VALUE, or NAME to copy a variable of this environment.

    Raises:
        UsageError: A name is invalid, or is not a variable of this environment.
    """
    env = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not _VARIABLE.fullmatch(name):
            raise UsageError(
                "--env must be NAME=VALUE, or NAME to pass on a variable of this environment "
                f"(got the name {name!r})"
            )
        if not equals and name not in os.environ:
            raise UsageError(f"--env {name}: this environment has no {name}; write {name}=VALUE")
        env[name] = value if equals else os.environ[name]
    return env


def _local_paths(config: EmbedConfig) -> Iterator[tuple[str, str]]:
    """Yield the settings that are paths of the local filesystem, with their field names."""
    yield from (("sources", each) for each in config.sources if not is_remote(each))
    if not is_remote(config.table):
        yield "table", config.table
    for weights in weights_by_arch(config.weights, config.archs).values():
        is_path = weights != "auto" and weights.partition(":")[0] != "random"
        if is_path and not is_remote(weights):
            yield "weights", weights


def _notes(config: EmbedConfig) -> Iterator[str]:
    if paths := list(dict.fromkeys(location for _, location in _local_paths(config))):
        names = ", ".join(paths)
        yield f"these paths must exist on all nodes of the cluster: {names}"


def _metadata(config: EmbedConfig, given: Mapping[str, object]) -> dict[str, str]:
    redact = config.storage.redact
    shown = ", ".join(map(redact, config.sources[:_MAX_SHOWN_SOURCES]))
    if (n_more := len(config.sources) - _MAX_SHOWN_SOURCES) > 0:
        shown += f" and {n_more} more"
    # The digest is public, so it leaves out credentials: it would confirm a guess of their values.
    public = {name: value for name, value in given.items() if name != "storage_options"}
    digest = hashlib.sha256(yaml.safe_dump(public).encode()).hexdigest()
    values = (redact(config.table), shown, passtream_version(), digest[:16])
    return dict(zip(METADATA, values, strict=True))
