"""Faults of stores and full disks in the middle of a run.

After each fault is removed, the same command completes the table, which is then that of an
undisturbed run. Most tests do not use Ray, as they do not depend on it and take half the time.
"""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.cli.main import main
from pipeline.io.storage import DEFAULT_STORAGE, Storage
from pipeline.readers import download
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table
from pipeline.table_layout import COMMITS_DIR
from tests.faults.corpus import QUICK_OPTIONS as OPTIONS
from tests.faults.corpus import Corpus, assert_nothing_lost, write_corpus
from tests.servers import Fault, FaultProxy, S3Server, fault_proxy, is_ci
from tests.support import ROOT, kill_session, passtream, start_passtream, wait_until

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
ALWAYS = 10_000
COMMITS = f"/{COMMITS_DIR}/"
# A recording may meet several faults, of which a stalled read takes a quarter of the timeout.
STORE_TIMEOUT_S = 20

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("quick_arch")]


@pytest.fixture(scope="module")
def local_corpus(tmp_path_factory) -> tuple[str, Corpus]:
    """A folder with recordings for three shards, and its corpus."""
    corpus = write_corpus(tmp_path_factory.mktemp("corpus"), 9, OPTIONS)
    return str(corpus.folder), corpus


@pytest.fixture(scope="module")
def remote_corpus(local_corpus, gateway) -> tuple[str, Corpus]:
    """A bucket with the same recordings, and its corpus."""
    folder, corpus = local_corpus
    location = f"{gateway.new_bucket()}/corpus"
    for name in os.listdir(folder):
        gateway.storage().filesystem(location).put_file(f"{folder}/{name}", f"{location}/{name}")
    expected = {f"{location}/{Path(uri).name}": vector for uri, vector in corpus.expected.items()}
    uris = frozenset(f"{location}/{Path(uri).name}" for uri in corpus.uris)
    return location, Corpus(corpus.folder, uris, expected)


@dataclass
class Remote:
    """A table on the gateway, behind a proxy."""

    uri: str
    proxy: FaultProxy

    def flags(self, timeout_s: float = 20) -> tuple[object, ...]:
        options = S3Server(self.proxy.url).options.items()
        flags = (x for name, value in options for x in ("--storage-options", f"{name}={value}"))
        return (*OPTIONS, *flags, "--store-timeout-s", timeout_s)

    @property
    def storage(self) -> Storage:
        return S3Server(self.proxy.url).storage()

    def names(self, folder: str) -> set[str]:
        return set(open_store(self.uri, self.storage).names(folder))


@pytest.fixture
def remote(gateway) -> Iterator[Remote]:
    with fault_proxy(gateway) as proxy:
        yield Remote(f"{gateway.new_bucket()}/table", proxy)


def embed_in_this_process(*arguments: object) -> tuple[int, str, str]:
    """Run `passtream embed` in this process, which has torch; return code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["passtream", "embed", *map(str, arguments), "--in-process"]
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code, out.getvalue(), err.getvalue()


def assert_completes(
    intact: tuple[str, Corpus],
    table: str | Path,
    options: tuple[object, ...] = OPTIONS,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """Check that the same command, without faults, resumes the table and completes it."""
    source, corpus = intact
    n_done = _count_commits(table, storage)
    code, _, message = embed_in_this_process(source, table, *options)
    assert code == 0, message
    found = re.search(r"resuming: (\d+) shards? found done", message)
    assert n_done == (int(found[1]) if found else 0)
    assert_nothing_lost(table, corpus, storage)


def _count_commits(table: str | Path, storage: Storage = DEFAULT_STORAGE) -> int:
    return len(Table.existing(open_store(str(table), storage)).commits.ids())


def command_with_prelude(prelude: str, *arguments: object) -> list[str]:
    """Return the command line of `passtream embed` without Ray, after some Python code."""
    code = f"{prelude}\nfrom jobs.cli.main import main\nmain()"
    return [sys.executable, "-c", code, "embed", *map(str, arguments), "--in-process"]


@pytest.fixture
def tiny_disk(tmp_path) -> Iterator[Callable[[str], Path]]:
    """Function that mounts a file system of the given size; called again, it changes the size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: str) -> Path:
        again = "remount," if folder.is_mount() else ""
        options = ["-t", "tmpfs", "-o", f"{again}size={size}", "passtream-tests", str(folder)]
        done = subprocess.run(["mount", *options], capture_output=True, text=True)
        if done.returncode:
            pytest.fail(done.stderr) if is_ci() else pytest.skip(f"cannot mount: {done.stderr}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_temporary_faults_are_waited_for(remote, remote_corpus, tmp_path):
    """A reply is lost, reads are truncated or stall, and then all requests fail with 503."""
    source, corpus = remote_corpus
    proxy, log = remote.proxy, tmp_path / "log"
    temporary_faults = proxy.faults = [
        Fault("lost", "PUT", COMMITS),
        Fault("truncated", "GET", "corpus/000.wav", 3),
        Fault("stalled", "GET", "corpus/001.wav"),
    ]
    process = start_passtream(
        "embed", source, remote.uri, *remote.flags(STORE_TIMEOUT_S), "--in-process", log=log
    )
    try:
        wait_until(
            lambda: all(f.seen == f.times for f in temporary_faults) or process.poll() is not None
        )
        outage = proxy.faults = [Fault("unavailable", method, "", 5) for method in METHODS]
        assert process.wait(timeout=120) == 0, log.read_text()
    finally:
        kill_session(process)
    assert [fault.seen for fault in temporary_faults] == [1, 3, 1]
    assert all(fault.seen == fault.times for fault in outage if fault.method in ("GET", "PUT"))
    assert "given up" not in log.read_text()
    assert_nothing_lost(remote.uri, corpus, remote.storage)


@pytest.mark.slow
def test_run_killed_between_row_files_and_commit_is_resumed(remote, local_corpus, tmp_path):
    proxy, log = remote.proxy, tmp_path / "log"
    hanging = Fault("hang", "PUT", COMMITS, ALWAYS)
    proxy.faults = [Fault("none", "PUT", COMMITS), hanging]
    process = start_passtream(
        "embed", local_corpus[0], remote.uri, *remote.flags(), "--in-process", log=log
    )
    try:
        wait_until(lambda: hanging.seen or process.poll() is not None)
        assert hanging.seen, log.read_text()
    finally:
        kill_session(process)
    proxy.faults = []
    wait_until(lambda: _count_commits(remote.uri, remote.storage) == 1)
    assert len(remote.names("clips")) > 1
    assert_completes(local_corpus, remote.uri, remote.flags(), remote.storage)


# Kills the process at its second commit.
DIE_AT_SECOND_COMMIT = """
import os, signal

def link(source, place, link=os.link, commits=[]):
    commits += ["/commits/"] if "/commits/" in str(place) else []
    if len(commits) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    link(source, place)

os.link = link
"""


def test_run_killed_between_row_files_and_commit_on_a_disk_is_resumed(local_corpus, tmp_path):
    table = tmp_path / "table"
    died = subprocess.run(
        command_with_prelude(DIE_AT_SECOND_COMMIT, local_corpus[0], table, *OPTIONS), cwd=ROOT
    )
    assert died.returncode == -signal.SIGKILL
    assert (_count_commits(table), len(list((table / "clips").iterdir()))) == (1, 2)
    assert_completes(local_corpus, table)


def test_run_killed_between_two_parts_of_an_upload_is_resumed(remote, local_corpus):
    """The parts stay in the store, invisible to readers, until a bucket rule deletes them."""
    hanging = Fault("hang", "PUT", "partNumber=2", ALWAYS)
    remote.proxy.faults = [hanging]
    prelude = "from pipeline.io import upload; upload.PART_BYTES = 4096"
    process = subprocess.Popen(
        command_with_prelude(prelude, local_corpus[0], remote.uri, *remote.flags()), cwd=ROOT
    )
    try:
        wait_until(lambda: hanging.seen or process.poll() is not None)
    finally:
        kill_session(process)
    remote.proxy.faults = []
    bucket = remote.uri.split("/")[2]
    files = remote.storage.filesystem(remote.uri)
    (unfinished,) = files.call_s3("list_multipart_uploads", Bucket=bucket)["Uploads"]
    assert "table/clips/" in unfinished["Key"]
    assert remote.names("clips") == set()
    assert_completes(local_corpus, remote.uri, remote.flags(), remote.storage)


@pytest.mark.parametrize(
    ("runner", "kind", "part"),
    [
        pytest.param("Ray", "unavailable", "/clips/", marks=pytest.mark.slow),
        ("this process", "broken", COMMITS),
    ],
)
def test_a_persistent_fault_of_the_store_fails_the_run(remote, local_corpus, runner, kind, part):
    remote.proxy.faults = [Fault(kind, "PUT", part, ALWAYS)]
    command = (local_corpus[0], remote.uri, *remote.flags(timeout_s=2))
    if runner == "Ray":
        done = passtream("embed", *command)
        code, out, err = done.returncode, done.stdout, done.stderr
    else:
        code, out, err = embed_in_this_process(*command)
    assert code == 3, err
    message = rf"given up: {remote.uri}{part}.* cannot be .*; tried for 2 s \(--store-timeout-s\)\n"
    assert len(re.findall(message, err)) == 3, err
    assert "3 shards failed; the same command tries them again" in out
    remote.proxy.faults = []
    assert_completes(local_corpus, remote.uri, remote.flags(), remote.storage)


def test_a_full_disk_fails_the_run(local_corpus, tiny_disk):
    """The disk has room for one shard, but not for three."""
    table = tiny_disk("64k") / "table"
    done = passtream("embed", local_corpus[0], table, *OPTIONS, "--in-process")
    assert done.returncode == 3, done.stderr
    message = rf"given up: {table}/\S+ cannot be (written|created): .*No space left on device"
    assert re.search(message, done.stderr), done.stderr
    assert "the same command tries them again" in done.stdout
    tiny_disk("16m")
    assert_completes(local_corpus, table)


@pytest.mark.parametrize(
    ("memory_bytes", "message"),
    [
        (
            None,
            r"\S+/table/\S+ cannot be written by way of {} \(TMPDIR names another place\): "
            r".*{full}",
        ),
        (1, r"no space left in {} \(TMPDIR\)"),
    ],
    ids=["of a table", "of recordings"],
)
def test_a_full_temporary_folder_fails_the_run(
    remote, remote_corpus, tiny_disk, memory_bytes, message
):
    folder = tiny_disk("8k")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))  # Python caches TMPDIR here
        if memory_bytes:
            patch.setattr(download, "MEMORY_BYTES", memory_bytes)
        code, _, err = embed_in_this_process(remote_corpus[0], remote.uri, *remote.flags())
    assert code == 3, err
    message = message.format(folder, full="No space left on device")
    assert re.search(rf"given up: {message}", err), err
    assert_completes(remote_corpus, remote.uri, remote.flags(), remote.storage)
