"""A config file to what is sent to a cluster: a folder, a command line, and what Ray shows of it.

The folder is made for the purpose: the packages of this installation and the settings, and nothing
else of this machine. With an image that has passtream it holds the settings alone.
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
from pipeline.io.storage import is_remote, is_uri
from pipeline.version import passtream_version

PACKAGES = (jobs, models, pipeline)
METADATA = ("table", "sources", "passtream_version", "config_sha256")
STOP_WAIT_S = 30
"""Time for `stop_signals.GRACE_S`, and for what follows it."""
_MOST_SHOWN_SOURCES = 5
_NOT_SENT = ("__pycache__", "*.pyc", ".*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Submission:
    """What is sent.

    Attributes:
        folder: becomes the working directory of the job.
        entrypoint: its command line.
        env: its environment; Ray shows it to whoever may see the job.
        metadata: what the list of jobs tells of it.
        notes: for the person who submits it.
    """

    folder: Path
    entrypoint: str
    env: Mapping[str, str]
    metadata: Mapping[str, str]
    notes: tuple[str, ...]


@contextlib.contextmanager
def prepare_submission(path: Path, env: Mapping[str, str], is_installed: bool) -> Iterator[Submission]:
    """What is sent for a config file; the folder is there within the block.

    Args:
        path: the config file.
        env: variables for the job.
        is_installed: whether the nodes have passtream already.

    Raises:
        UsageError: the settings are wrong, or cannot work on a cluster.
    """
    config = load_cluster_config(path)
    given = config.model_dump(mode="json", include=config.model_fields_set)
    with tempfile.TemporaryDirectory(prefix="passtream-") as name:
        folder = Path(name)
        if not is_installed:
            for package in PACKAGES:
                source = Path(str(package.__file__)).parent
                ignore = shutil.ignore_patterns(*_NOT_SENT)
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
    """The settings of a file, as they are to be on a cluster.

    Raises:
        UsageError: they are wrong, or cannot work there.
    """
    config = load_config(path, {})
    if config.in_process:
        raise UsageError(
            f"config {str(path)!r}: in_process runs without Ray, and the job is for a cluster; "
            "leave it out"
        )
    if "address" in config.model_fields_set and config.address != "auto":
        raise UsageError(
            f"config {str(path)!r}: a job runs on the cluster that it is submitted to (got "
            f"address {config.address!r}); leave it out, and name the cluster by --address"
        )
    if "-" in config.sources:
        raise UsageError("sources: a job has no standard input (got '-'); name a manifest")
    for field, location in _local_paths(config):
        if not is_uri(location) and not location.startswith("/"):
            raise UsageError(
                f"{field} {location!r}: a relative path means nothing on a cluster; write a URI, "
                "or an absolute path that all of its nodes see"
            )
    return config.model_copy(update={"address": "auto"})


def parse_env(given: Iterable[str]) -> dict[str, str]:
    """`--env NAME=VALUE`, or NAME for what this environment has.

    Raises:
        UsageError: no name, or this environment has none of it.
    """
    env = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not _VARIABLE.fullmatch(name):
            raise UsageError(
                "--env must be NAME=VALUE, or NAME to hand on a variable of this environment "
                f"(got the name {name!r})"
            )
        if not equals and name not in os.environ:
            raise UsageError(f"--env {name}: this environment has no {name}; write {name}=VALUE")
        env[name] = value if equals else os.environ[name]
    return env


def _local_paths(config: EmbedConfig) -> Iterator[tuple[str, str]]:
    """Settings that are paths of some machine, with their names."""
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
        yield f"paths of the cluster, which all of its nodes have to see: {names}"


def _metadata(config: EmbedConfig, given: Mapping[str, object]) -> dict[str, str]:
    redacted = config.storage.redact
    shown = ", ".join(map(redacted, config.sources[:_MOST_SHOWN_SOURCES]))
    if (n_more := len(config.sources) - _MOST_SHOWN_SOURCES) > 0:
        shown += f" and {n_more} more"
    # Without the credentials: a digest tells who guesses whether he is right.
    told = {name: value for name, value in given.items() if name != "storage_options"}
    digest = hashlib.sha256(yaml.safe_dump(told).encode()).hexdigest()
    values = (redacted(config.table), shown, passtream_version(), digest[:16])
    return dict(zip(METADATA, values, strict=True))
