"""Stores that fail, lie or fall silent in the middle of a run, and disks that are full.

What breaks a run is mended and the same command is given again, with nothing else done: then the
table is that of a calm run. What Ray adds nothing to goes without it, as that takes half the time.
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
from tests.faults.aftermath import QUICK_OPTIONS as OPTIONS
from tests.faults.aftermath import Corpus, assert_nothing_lost, write_corpus
from tests.servers import Fault, FaultProxy, S3Server, fault_proxy, is_ci
from tests.support import ROOT, kill_session, passtream, start_passtream, wait_until

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
ALWAYS = 10_000
COMMITS = f"/{COMMITS_DIR}/"
PATIENCE_S = 20  # one recording may meet all that is broken; a silence of a quarter of it is enough

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("quick_arch")]


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> tuple[str, Corpus]:
    """A folder with a few recordings: three shards."""
    corpus = write_corpus(tmp_path_factory.mktemp("few"), 9, OPTIONS)
    return str(corpus.folder), corpus


@pytest.fixture(scope="module")
def remote_few(few, gateway) -> tuple[str, Corpus]:
    """A bucket with the same."""
    folder, corpus = few
    place = f"{gateway.new_bucket()}/few"
    for name in os.listdir(folder):
        gateway.storage().filesystem(place).put_file(f"{folder}/{name}", f"{place}/{name}")
    calm = {f"{place}/{Path(uri).name}": vector for uri, vector in corpus.calm.items()}
    uris = frozenset(f"{place}/{Path(uri).name}" for uri in corpus.uris)
    return place, Corpus(corpus.folder, uris, calm)


@dataclass
class Remote:
    """A table on the gateway, behind a proxy."""

    uri: str
    proxy: FaultProxy

    def flags(self, timeout_s: float = 20) -> tuple[object, ...]:
        options = S3Server(self.proxy.url).options.items()
        given = (x for name, value in options for x in ("--storage-options", f"{name}={value}"))
        return (*OPTIONS, *given, "--store-timeout-s", timeout_s)

    @property
    def storage(self) -> Storage:
        return S3Server(self.proxy.url).storage()

    def names(self, folder: str) -> set[str]:
        return set(open_store(self.uri, self.storage).names(folder))


@pytest.fixture
def remote(gateway) -> Iterator[Remote]:
    with fault_proxy(gateway) as proxy:
        yield Remote(f"{gateway.new_bucket()}/table", proxy)


def embed_here(*arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of `passtream embed`, in this process: it has loaded torch."""
    out, err = io.StringIO(), io.StringIO()
    given = ["passtream", "embed", *map(str, arguments), "--in-process"]
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as ended:
            main()
    return ended.value.code, out.getvalue(), err.getvalue()


def assert_completes(
    sound: tuple[str, Corpus],
    table: str | Path,
    options: tuple[object, ...] = OPTIONS,
    storage: Storage = DEFAULT_STORAGE,
) -> None:
    """The same command again, of a source that is sound, comes through and finds what was done."""
    source, corpus = sound
    n_done = _committed(table, storage)
    code, _, said = embed_here(source, table, *options)
    assert code == 0, said
    found = re.search(r"resuming: (\d+) shards? found done", said)
    assert n_done == (int(found[1]) if found else 0)
    assert_nothing_lost(table, corpus, storage)


def _committed(table: str | Path, storage: Storage = DEFAULT_STORAGE) -> int:
    return len(Table.existing(open_store(str(table), storage)).commits.ids())


def altered(change: str, *arguments: object) -> list[str]:
    """`passtream embed` without Ray, as a process with some lines of Python before it."""
    code = f"{change}\nfrom jobs.cli.main import main\nmain()"
    return [sys.executable, "-c", code, "embed", *map(str, arguments), "--in-process"]


@pytest.fixture
def tiny_disk(tmp_path) -> Iterator[Callable[[str], Path]]:
    """A file system of its own of so many bytes; called again, it is enlarged."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def sized(size: str) -> Path:
        again = "remount," if folder.is_mount() else ""
        options = ["-t", "tmpfs", "-o", f"{again}size={size}", "passtream-tests", str(folder)]
        done = subprocess.run(["mount", *options], capture_output=True, text=True)
        if done.returncode:
            pytest.fail(done.stderr) if is_ci() else pytest.skip(f"cannot mount: {done.stderr}")
        return folder

    yield sized
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_what_passes_is_waited_for(remote, remote_few, tmp_path):
    """A reply that is lost, readings that break off or stop, and then nothing but 503."""
    source, corpus = remote_few
    proxy, log = remote.proxy, tmp_path / "log"
    passing = proxy.faults = [
        Fault("lost", "PUT", COMMITS),
        Fault("truncated", "GET", "few/000.wav", 3),
        Fault("stalled", "GET", "few/001.wav"),
    ]
    process = start_passtream(
        "embed", source, remote.uri, *remote.flags(PATIENCE_S), "--in-process", log=log
    )
    try:
        wait_until(lambda: all(f.seen == f.times for f in passing) or process.poll() is not None)
        storm = proxy.faults = [Fault("unavailable", method, "", 5) for method in METHODS]
        assert process.wait(timeout=120) == 0, log.read_text()
    finally:
        kill_session(process)
    assert [fault.seen for fault in passing] == [1, 3, 1]
    assert all(fault.seen == fault.times for fault in storm if fault.method in ("GET", "PUT"))
    assert "given up" not in log.read_text()
    assert_nothing_lost(remote.uri, corpus, remote.storage)


@pytest.mark.slow
def test_killed_between_the_files_and_the_commit(remote, few, tmp_path):
    proxy, log = remote.proxy, tmp_path / "log"
    held = Fault("hang", "PUT", COMMITS, ALWAYS)
    proxy.faults = [Fault("none", "PUT", COMMITS), held]
    process = start_passtream("embed", few[0], remote.uri, *remote.flags(), "--in-process", log=log)
    try:
        wait_until(lambda: held.seen or process.poll() is not None)
        assert held.seen, log.read_text()
    finally:
        kill_session(process)
    proxy.faults = []
    wait_until(lambda: _committed(remote.uri, remote.storage) == 1)
    assert len(remote.names("clips")) > 1
    assert_completes(few, remote.uri, remote.flags(), remote.storage)


DIES_AT_ITS_SECOND_COMMIT = """
import os, signal

def link(source, place, link=os.link, commits=[]):
    commits += ["/commits/"] if "/commits/" in str(place) else []
    if len(commits) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    link(source, place)

os.link = link
"""


def test_killed_between_the_files_and_the_commit_on_a_disk(few, tmp_path):
    table = tmp_path / "table"
    died = subprocess.run(altered(DIES_AT_ITS_SECOND_COMMIT, few[0], table, *OPTIONS), cwd=ROOT)
    assert died.returncode == -signal.SIGKILL
    assert (_committed(table), len(list((table / "clips").iterdir()))) == (1, 2)
    assert_completes(few, table)


def test_killed_between_the_parts_of_an_upload(remote, few):
    """Its parts stay in the store, where nobody sees them, until a rule of the bucket ends them."""
    held = Fault("hang", "PUT", "partNumber=2", ALWAYS)
    remote.proxy.faults = [held]
    change = "from pipeline.io import upload; upload.PART_BYTES = 4096"
    process = subprocess.Popen(altered(change, few[0], remote.uri, *remote.flags()), cwd=ROOT)
    try:
        wait_until(lambda: held.seen or process.poll() is not None)
    finally:
        kill_session(process)
    remote.proxy.faults = []
    bucket = remote.uri.split("/")[2]
    files = remote.storage.filesystem(remote.uri)
    (unfinished,) = files.call_s3("list_multipart_uploads", Bucket=bucket)["Uploads"]
    assert "table/clips/" in unfinished["Key"]
    assert remote.names("clips") == set()
    assert_completes(few, remote.uri, remote.flags(), remote.storage)


@pytest.mark.parametrize(
    ("where", "kind", "part"),
    [
        pytest.param("Ray", "unavailable", "/clips/", marks=pytest.mark.slow),
        ("this process", "broken", COMMITS),
    ],
)
def test_a_store_that_stays_broken_fails_the_run(remote, few, where, kind, part):
    remote.proxy.faults = [Fault(kind, "PUT", part, ALWAYS)]
    command = (few[0], remote.uri, *remote.flags(timeout_s=2))
    if where == "Ray":
        done = passtream("embed", *command)
        code, out, err = done.returncode, done.stdout, done.stderr
    else:
        code, out, err = embed_here(*command)
    assert code == 3, err
    said = rf"given up: {remote.uri}{part}.* cannot be .*; tried for 2 s \(--store-timeout-s\)\n"
    assert len(re.findall(said, err)) == 3, err
    assert "3 shards failed; the same command tries them again" in out
    remote.proxy.faults = []
    assert_completes(few, remote.uri, remote.flags(), remote.storage)


def test_a_full_disk_fails_the_run(few, tiny_disk):
    """There is room for a shard, but not for three."""
    table = tiny_disk("64k") / "table"
    done = passtream("embed", few[0], table, *OPTIONS, "--in-process")
    assert done.returncode == 3, done.stderr
    said = rf"given up: {table}/\S+ cannot be (written|created): .*No space left on device"
    assert re.search(said, done.stderr), done.stderr
    assert "the same command tries them again" in done.stdout
    tiny_disk("16m")
    assert_completes(few, table)


@pytest.mark.parametrize(
    ("memory_bytes", "said"),
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
def test_a_full_temporary_folder_fails_the_run(remote, remote_few, tiny_disk, memory_bytes, said):
    folder = tiny_disk("8k")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))  # where TMPDIR is kept
        if memory_bytes:
            patch.setattr(download, "MEMORY_BYTES", memory_bytes)
        code, _, err = embed_here(remote_few[0], remote.uri, *remote.flags())
    assert code == 3, err
    said = said.format(folder, full="No space left on device")
    assert re.search(rf"given up: {said}", err), err
    assert_completes(remote_few, remote.uri, remote.flags(), remote.storage)
