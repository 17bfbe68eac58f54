"""Tests of memory_limit: a decoder that requests too much memory is an error of the clip."""

import mmap
import resource
import subprocess
import sys
import textwrap
import threading

import pytest

from pipeline.decode.guards.memory_limit import limit_memory
from pipeline.errors import CannotDecodeError
from tests.hostile import mp4_of_many_samples
from tests.support import ROOT

MIB = 1 << 20


def soft_limit():
    return resource.getrlimit(resource.RLIMIT_AS)[0]


def allocate(n_bytes):
    try:
        mmap.mmap(-1, n_bytes).close()
    except OSError as error:
        raise MemoryError from error


def test_memory_below_the_limit_is_allowed_and_the_limit_is_restored():
    before = soft_limit()
    with limit_memory(512 * MIB):
        assert soft_limit() != before
        allocate(100 * MIB)
    assert soft_limit() == before


def test_memory_above_the_limit_is_an_error_of_the_clip():
    before = soft_limit()
    with (
        pytest.raises(CannotDecodeError, match=r"0\.25 GiB.*--decoder-memory") as caught,
        limit_memory(256 * MIB),
    ):
        allocate(600 * MIB)
    assert caught.value.error_class == "too_much_memory"
    assert soft_limit() == before


def test_memory_error_at_a_lower_outer_limit_is_no_error_of_the_clip():
    code = """
        import mmap, resource
        from pipeline.decode.guards.memory_limit import limit_memory
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
        try:
            with limit_memory(1 << 30):
                raise MemoryError
        except MemoryError:
            print("not the clip's fault")
    """
    assert run(code).stdout == "not the clip's fault\n"


def test_concurrent_threads_share_the_limit_and_restore_it():
    before, errors = soft_limit(), []

    def decode():
        try:
            for _ in range(200):
                with limit_memory(2048 * MIB):
                    allocate(10 * MIB)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert soft_limit() == before


def test_an_mp4_of_a_few_hundred_bytes_does_not_allocate_gigabytes(tmp_path):
    path = tmp_path / "bomb.m4a"
    path.write_bytes(mp4_of_many_samples(60_000_000))
    assert path.stat().st_size < 1000
    code = f"""
        import resource
        from dataclasses import replace
        from pipeline.clips import ClipRef, path_to_uri
        from pipeline.stream.clip_decoder import clip_reader
        from pipeline.errors import ClipError
        from pipeline.readers.lazy_reader import lazy_recording
        from pipeline.limits import DEFAULT_LIMITS
        from pipeline.decode.probe import probe_audio
        from pipeline.readers.shard_reader import clip_recording
        from pipeline.errors import CannotDecodeError
        from pipeline.io.versions import stat_version
        import os
        memory = 256 << 20
        ref = ClipRef(path_to_uri({str(path)!r}), stat_version(os.stat({str(path)!r})))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        limits = replace(DEFAULT_LIMITS, decoder_memory_bytes=memory)
        try:
            for _ in clip_reader(clip_recording(ref), limits).pieces():
                pass
        except ClipError as error:
            print(error.error_class)
        try:
            with open({str(path)!r}, "rb") as file:
                probe_audio(file, memory)
        except CannotDecodeError as error:
            print(error.error_class)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print((after - before) >> 10)
    """
    embedded, planned, mib = run(code).stdout.split()
    assert embedded == planned == "too_much_memory"
    assert int(mib) < 400


def run(code):
    """Run Python code in a new process, and return the completed process."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
