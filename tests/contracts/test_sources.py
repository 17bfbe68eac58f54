"""Contract of the locations of recordings, on disk and in stores, from the listing to the bytes."""

import dataclasses
import os
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from pipeline.clips import ClipRef
from pipeline.errors import ClipError, StoreError, UsageError
from pipeline.io.objects import PIECE_BYTES, FsspecObject
from pipeline.io.s3_reader import s3_reader
from pipeline.io.storage import Storage
from pipeline.readers import download as download_module
from pipeline.readers import shard_reader
from pipeline.readers.clip_file import open_clip
from pipeline.readers.download import download
from pipeline.readers.shard_reader import clip_recordings
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from pipeline.sources.patterns import LEFT_OUT
from tests.contracts.source_folders import ANY_SIZE, SourceFolder, local_folder, remote_folder
from tests.servers import Fault, S3Server, fault_proxy

# An option that Arrow's client does not have, so that all requests go through s3fs.
NEEDS_S3FS = ("requester_pays", False)
ODD_NAMES = (
    "with space.wav",
    "Möwe.wav",
    "number#1.wav",
    "why?.wav",
    "50%25 off.wav",
    "take[1].wav",
    "star*.wav",
    "a+b=c&d.wav",
    "'quoted\".wav",
)


@pytest.fixture(params=["local", "memory", "moto", "gateway", "gateway by s3fs"])
def folder(request, tmp_path) -> SourceFolder:
    kind, name = request.param, uuid.uuid4().hex
    if kind == "local":
        return local_folder(tmp_path)
    if kind == "memory":
        return remote_folder(f"memory://{name}/corpus", Storage())
    server: S3Server = request.getfixturevalue(kind.partition(" ")[0])
    storage = server.storage()
    if kind.endswith("s3fs"):
        storage = dataclasses.replace(storage, options=(*storage.options, NEEDS_S3FS))
    bucket = server.new_bucket()
    assert (s3_reader(bucket, storage) is None) == kind.endswith("s3fs")
    return remote_folder(f"{bucket}/corpus", storage)


@pytest.fixture
def remote(folder) -> SourceFolder:
    if folder.root.startswith("/"):
        pytest.skip("local files are not downloaded")
    return folder


@pytest.fixture(params=["moto", "gateway"])
def faulty(request):
    """A folder reached through a faulty proxy, the proxy, and the same folder without the proxy."""
    server: S3Server = request.getfixturevalue(request.param)
    root = f"{server.new_bucket()}/corpus"
    with fault_proxy(server) as proxy:
        proxied_folder = S3Server(proxy.url).storage(timeout_s=2.0)
        yield remote_folder(root, proxied_folder), proxy, remote_folder(root, server.storage())


def test_a_folder_is_listed_recursively_and_other_files_are_counted(folder):
    names = ["a.wav", "b.FLAC", "x/c.mp3", "x/y/z/d.ogg", "x.wav/e.wav"]
    for name in (*names, "note.txt", "x/note.txt", "README"):
        folder.put(name, name.encode())
    assert folder.list_names() == sorted(names)
    assert folder.list_names("x") == ["x/c.mp3", "x/y/z/d.ogg"]
    assert folder.list_names("x/") == ["x/c.mp3", "x/y/z/d.ogg"]
    assert folder.listing().skipped == {".txt": 2, "": 1}


def test_named_files_and_globs_accept_any_ending(folder):
    for name in ("a.dat", "x/b.dat", "x/y/c.dat", "2024-01/d.wav", "2024-02/e.wav", "2023/f.wav"):
        folder.put(name, name.encode())
    assert folder.list_names("a.dat") == ["a.dat"]
    assert folder.list_names("*.dat") == ["a.dat"]
    assert folder.list_names("**/*.dat") == ["a.dat", "x/b.dat", "x/y/c.dat"]
    assert folder.list_names("x/*/c.dat") == ["x/y/c.dat"]
    assert folder.list_names("2024-*") == ["2024-01/d.wav", "2024-02/e.wav"]


def test_overlapping_sources_list_each_clip_once(folder):
    for name in ("a.wav", "x/b.wav"):
        folder.put(name, name.encode())
    assert folder.list_names("", "x", "x/b.wav", "**/*.wav") == ["a.wav", "x/b.wav"]


def test_patterns_match_the_path_below_the_source(folder):
    for name in ("a.wav", "b.mp3", "noise/c.wav", "x/noise/d.wav"):
        folder.put(name, name.encode())
    assert folder.list_names(include=("*.wav",)) == ["a.wav", "noise/c.wav", "x/noise/d.wav"]
    assert folder.list_names(exclude=("noise/",)) == ["a.wav", "b.mp3", "x/noise/d.wav"]
    assert folder.list_names(exclude=("*noise/*", "b*")) == ["a.wav"]
    assert folder.list_names("x", include=("noise/*",)) == ["x/noise/d.wav"]
    assert folder.list_names("**/*.wav", exclude=("c.wav", "x/*")) == ["a.wav"]
    assert folder.listing(include=("*.mp3",)).skipped == {LEFT_OUT: 3}


def test_odd_names_are_listed_and_read(folder):
    for name in ODD_NAMES:
        folder.put(f"sub folder/{name}", name.encode())
    assert folder.list_names() == sorted(f"sub folder/{name}" for name in ODD_NAMES)
    for clip in folder.listing().clips:
        assert folder.read(clip) == Path(clip.uri).name.encode()
    with_files = [
        (clip.clips[0], clip.open)
        for clip in clip_recordings(folder.listing().clips, folder.storage)
    ]
    assert len(with_files) == len(ODD_NAMES)
    for name in ODD_NAMES:
        if "*" not in name:
            assert folder.list_names(f"sub folder/{name}") == [f"sub folder/{name}"]


def test_a_version_is_stable_and_changes_with_the_content(folder):
    folder.put("a.wav", b"one")
    folder.put("b.wav", b"two")
    first = folder.listing().clips
    assert folder.listing().clips == first
    assert folder.listing("a.wav").clips == first[:1]
    time.sleep(0.01)
    folder.put("a.wav", b"ONE")
    second = folder.listing().clips
    assert [clip.uri for clip in second] == [clip.uri for clip in first]
    assert second[0].version != first[0].version
    assert second[1].version == first[1].version
    assert '"' not in first[0].version


def test_a_clip_is_read_whole_and_in_ranges(folder, monkeypatch):
    monkeypatch.setattr("pipeline.io.objects.PIECE_BYTES", 1000)
    monkeypatch.setattr("pipeline.io.s3_reader.PIECE_BYTES", 1000)
    content = np.random.default_rng(0).bytes(100_003)
    folder.put("a.wav", content)
    clip = folder.clip("a.wav")
    with open_clip(clip, folder.storage, ANY_SIZE) as file:
        assert file.read() == content
        for start, size in ((0, 10), (99_990, 100), (5000, 0), (777, 50_000)):
            file.seek(start)
            assert file.read(size) == content[start : start + size]
        assert os.pread(file.fileno(), 4, 50_000) == content[50_000:50_004]


def test_a_large_clip_is_spooled_to_disk(remote, monkeypatch):
    monkeypatch.setattr(download_module, "MEMORY_BYTES", 10)
    remote.put("a.wav", b"0123456789A")
    with open_clip(remote.clip("a.wav"), remote.storage, ANY_SIZE) as file:
        assert "memfd" not in os.readlink(f"/proc/self/fd/{file.fileno()}")
        assert file.read() == b"0123456789A"
    remote.put("b.wav", b"0123456789")
    with open_clip(remote.clip("b.wav"), remote.storage, ANY_SIZE) as file:
        assert "memfd" in os.readlink(f"/proc/self/fd/{file.fileno()}")


def test_a_deleted_clip_is_missing(folder):
    folder.put("a.wav", b"one")
    clip = folder.clip("a.wav")
    folder.delete("a.wav")
    with pytest.raises(ClipError, match=r"a\.wav: is not there") as raised:
        folder.read(clip)
    assert (raised.value.stage, raised.value.error_class) == ("read", "missing")


def test_an_empty_clip_is_an_error(folder):
    folder.put("a.wav", b"")
    with pytest.raises(ClipError, match="0 bytes") as raised:
        folder.read(folder.clip("a.wav"))
    assert raised.value.error_class == "empty"


def test_a_clip_that_is_too_large_is_an_error_and_the_next_is_read(folder):
    for name, size in (("a.wav", 10), ("b.wav", 11), ("c.wav", 9)):
        folder.put(name, bytes(size))
    with pytest.raises(ClipError, match="11 bytes, more than the 10 that"):
        open_clip(folder.clip("b.wav"), folder.storage, 10).__enter__()
    outcomes = []
    for recording in clip_recordings(folder.listing().clips, folder.storage):
        try:
            with recording.open(10) as file:
                outcomes.append(len(file.read()))
        except ClipError as error:
            outcomes.append(error.error_class)
    assert outcomes == [10, "too_large", 9]


def test_a_clip_of_another_version_is_changed(folder):
    folder.put("a.wav", b"one")
    clip = folder.clip("a.wav")
    time.sleep(0.01)
    folder.put("a.wav", b"another")
    with pytest.raises(ClipError, match=f"version {clip.version}, now ") as raised:
        folder.read(clip)
    assert raised.value.error_class == "changed"


@pytest.mark.parametrize("size", [3, 30_000])
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_clip_that_changes_while_it_is_read_is_changed(remote, monkeypatch, size, pieces):
    """The clip changes after its version was checked, with the same size or another."""
    monkeypatch.setattr("pipeline.io.objects.PIECE_BYTES", size // pieces)
    monkeypatch.setattr("pipeline.io.s3_reader.PIECE_BYTES", size // pieces)
    for other in (b"2" * size, b"2" * (size - 2), b"2" * (size + 5)):
        remote.put("a.wav", b"1" * size)
        clip = remote.clip("a.wav")

        def replace(_: int, other=other) -> None:
            time.sleep(0.01)
            remote.put("a.wav", other)

        with pytest.raises(ClipError) as raised:
            download(clip, remote.storage, replace)
        assert raised.value.error_class == "changed"


def test_a_source_without_recordings_is_refused(folder):
    folder.put("a.txt", b"text")
    for source in ("nothing", "nothing.wav", "no*thing", "nothing/"):
        with pytest.raises(UsageError, match=r"no such|matches no file") as raised:
            folder.listing(source)
        assert f"{folder.root}/{source}" in str(raised.value)
    with pytest.raises(UsageError, match=r"skipped 1 other file: \.txt 1"):
        folder.listing()


def test_many_clips_are_read_in_order(folder):
    contents = {f"{i:03}.wav": b"%d" % i * (i + 1) for i in range(80)}
    for name, content in contents.items():
        folder.put(name, content)
    read = {}
    for recording in clip_recordings(folder.listing().clips, folder.storage):
        with recording.open(ANY_SIZE) as file:
            read[recording.clips[0].uri.rpartition("/")[2]] = file.read()
    assert list(read.items()) == list(contents.items())


def test_local_and_remote_clips_keep_their_order(remote, tmp_path):
    (tmp_path / "a.wav").write_bytes(b"here")
    remote.put("b.wav", b"there")
    remote.put("gone.wav", b"x")
    local = list_sources([str(tmp_path / "a.wav")]).clips[0]
    gone = remote.clip("gone.wav")
    remote.delete("gone.wav")
    outcomes = []
    for recording in clip_recordings([gone, local, remote.clip("b.wav"), local], remote.storage):
        try:
            with recording.open(ANY_SIZE) as file:
                outcomes.append(file.read())
        except ClipError as error:
            outcomes.append(error.error_class)
    assert outcomes == ["missing", b"here", b"there", b"here"]


def test_a_stream_that_is_closed_early_leaves_nothing_open(remote):
    for i in range(40):
        remote.put(f"{i:02}.wav", b"content")
    stream = clip_recordings(remote.listing().clips, remote.storage)
    before = threading.active_count()
    with next(stream).open(ANY_SIZE) as file:
        assert file.read() == b"content"
    next(stream)
    assert file.closed
    stream.close()
    deadline = time.monotonic() + 60
    while threading.active_count() > before or _n_memfds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _n_memfds() -> int:
    n = 0
    for each in os.listdir("/proc/self/fd"):
        try:
            n += "memfd:clip" in os.readlink(f"/proc/self/fd/{each}")
        except OSError:
            continue
    return n


@pytest.mark.parametrize(
    ("kind", "times"), [("unavailable", 2), ("truncated", 2), ("lost", 2), ("flipped", 1)]
)
def test_temporary_failure_of_a_store_is_retried(faulty, kind, times):
    proxied_folder, proxy, folder = faulty
    content = np.random.default_rng(0).bytes(10_000)
    folder.put("a.wav", content)
    clip = folder.clip("a.wav")
    fault = Fault(kind, "GET", "a.wav", times)
    proxy.faults.append(fault)
    assert proxied_folder.read(clip) == content
    assert fault.seen == times


@pytest.mark.parametrize("kind", ["unavailable", "truncated", "lost"])
def test_persistent_failure_of_a_store_fails_the_shard_and_not_the_clip(faulty, kind):
    proxied_folder, proxy, folder = faulty
    folder.put("a.wav", b"content")
    clip = folder.clip("a.wav")
    proxy.faults.append(Fault(kind, "GET", "a.wav", times=1000))
    with pytest.raises(StoreError, match=r"a\.wav cannot be read: .*--store-timeout-s"):
        proxied_folder.read(clip)


@pytest.mark.parametrize(("timeout_s", "read_timeout_s"), [(0.5, 0.5), (2, 1), (20, 5), (600, 30)])
def test_read_timeout_leaves_time_for_retries(timeout_s, read_timeout_s):
    assert Storage(timeout_s=timeout_s).read_timeout_s == read_timeout_s


def test_a_stalled_read_of_a_large_file_times_out(faulty):
    _, proxy, folder = faulty
    folder.put("a.wav", bytes(PIECE_BYTES + 1))
    storage = S3Server(proxy.url).storage(timeout_s=1.0)
    proxy.faults.append(Fault("stalled", "GET", "a.wav", times=1000))
    found = FsspecObject(f"{folder.root}/a.wav", storage)
    with pytest.raises(StoreError, match=r"a\.wav: Read timeout .*; tried for 1 s"):
        storage.retry("a.wav", lambda: list(found.pieces()))


def test_a_listing_is_retried(faulty):
    proxied_folder, proxy, folder = faulty
    folder.put("a.wav", b"content")
    proxy.faults.append(Fault("unavailable", "GET", "list-type=2", times=1))
    assert proxied_folder.list_names() == ["a.wav"]
    proxy.faults.append(Fault("unavailable", "GET", "list-type=2", times=1000))
    with pytest.raises(StoreError, match="cannot be listed"):
        proxied_folder.list_names()


def test_an_object_without_read_permission_is_an_error_of_the_clip(faulty):
    proxied_folder, proxy, folder = faulty
    folder.put("a.wav", b"content")
    clip = folder.clip("a.wav")
    proxy.faults += [Fault("denied", method, "a.wav", times=1000) for method in ("HEAD", "GET")]
    with pytest.raises(ClipError, match="no permission to read it") as raised:
        proxied_folder.read(clip)
    assert raised.value.error_class == "forbidden"


def test_expired_credentials_fail_the_shard(faulty):
    proxied_folder, proxy, folder = faulty
    folder.put("a.wav", b"content")
    clip = folder.clip("a.wav")
    proxy.faults += [Fault("expired", method, "a.wav", times=1000) for method in ("HEAD", "GET")]
    with pytest.raises(StoreError, match="renew the credentials"):
        proxied_folder.read(clip)


def test_a_bucket_without_list_permission_is_refused(faulty):
    proxied_folder, proxy, _ = faulty
    proxy.faults.append(Fault("denied", "GET", "list-type=2", times=1000))
    with pytest.raises(UsageError, match="no permission to list it"):
        proxied_folder.list_names()


def test_a_missing_bucket_is_refused(faulty):
    _, _, folder = faulty
    with pytest.raises(UsageError, match=r"no such"):
        list_sources(["s3://nosuchbucket12/x"], SourceOptions(storage=folder.storage))


def test_repr_of_a_clip_ref_shows_no_signature():
    ref = ClipRef("https://host/a.wav", "v", read_uri="https://host/a.wav?sig=abc")
    assert "abc" not in repr(ref)
    assert ref == ClipRef("https://host/a.wav", "v")


def test_an_unavailable_http_server_is_not_a_missing_file(moto):
    bucket = moto.new_bucket()
    folder = remote_folder(f"{bucket}/corpus", moto.storage())
    folder.put("a b.wav", b"content")
    with fault_proxy(moto) as proxy:
        signed = moto.storage().filesystem(bucket).sign(f"{bucket}/corpus/a b.wav")
        # moto does not check signatures, so the signed URL may name the proxy.
        url = signed.replace(moto.url, proxy.url)
        options = SourceOptions(storage=Storage(timeout_s=1.0).with_own_hosts([url]))
        (clip,) = list_sources([url], options).clips
        assert clip.uri == f"{proxy.url}/{bucket.removeprefix('s3://')}/corpus/a%20b.wav"
        assert (clip.read_uri, clip.version) == (url, folder.clip("a b.wav").version)
        with open_clip(clip, options.storage, ANY_SIZE) as file:
            assert file.read() == b"content"
        proxy.faults += [Fault("unavailable", each, "b.wav", 1000) for each in ("HEAD", "GET")]
        with pytest.raises(StoreError, match="HTTP status 503"):
            open_clip(clip, options.storage, ANY_SIZE).__enter__()
        with pytest.raises(StoreError, match="HTTP status 503"):
            list_sources([url], options)
        proxy.faults[:] = [Fault("stalled", "GET", "b.wav", 1000)]
        with pytest.raises(ClipError, match=r"(Timeout|no data).*, after \d+ bytes") as raised:
            open_clip(clip, options.storage, ANY_SIZE).__enter__()
        assert raised.value.error_class == "short_response"
        proxy.faults[:] = [Fault("denied", each, "b.wav", 1000) for each in ("HEAD", "GET")]
        with pytest.raises(ClipError, match="no permission") as raised:
            open_clip(clip, options.storage, ANY_SIZE).__enter__()
        assert raised.value.error_class == "forbidden"
    folder.delete("a b.wav")
    direct = dataclasses.replace(clip, read_uri=signed)
    with pytest.raises(ClipError, match="is not there"):
        open_clip(direct, options.storage, ANY_SIZE).__enter__()


def test_spans_of_a_recording_share_one_download(remote, monkeypatch):
    downloads = []

    def record_download(ref, *rest):
        downloads.append(ref)
        return download(ref, *rest)

    monkeypatch.setattr(shard_reader, "download", record_download)
    for name in ("a.wav", "b.wav"):
        remote.put(name, b"bytes of " + name.encode())
    spans = [
        dataclasses.replace(remote.clip(name), member=f"t={at}", span=(at, at + 1.0))
        for name in ("a.wav", "b.wav")
        for at in (0.0, 1.0, 2.0)
    ]
    found = []
    for recording in clip_recordings(spans, remote.storage):
        with recording.open(ANY_SIZE) as file:
            content = file.read().decode()
            found += [(clip, content) for clip in recording.clips]
    assert found == [(span, f"bytes of {span.uri[-5:]}") for span in spans]
    assert [ref.member for ref in downloads] == ["", ""]
