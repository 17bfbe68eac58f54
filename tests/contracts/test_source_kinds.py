"""Contract of all kinds of sources, on disk and in stores, from the listing to decoded samples.

The kinds are files, tars, Parquet and Arrow files, manifests with and without spans, and names on
standard input. The contract of single files is in `test_sources`.
"""

import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from pipeline.errors import ClipError, UsageError
from pipeline.io.versions import MISSING
from pipeline.readers import container_file
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions
from tests.contracts.corpus import ALL, Corpus, decode_or_error, expected_samples, flip_bit
from tests.contracts.kinds import KINDS, NAMES, NO_RECORDING, TEXTS, make_recordings
from tests.contracts.source_folders import ANY_SIZE, local_folder, remote_folder
from tests.support import ROOT

# Kinds whose bytes are read from a store in the same way as the bytes of another kind.
PARSED_ALIKE = ("arrow stream", "jsonl", "jsonl of spans", "parquet of spans")
KINDS_BY_LOCATION = {
    "disk": tuple(KINDS),
    "moto": tuple(name for name in KINDS if name not in PARSED_ALIKE),
    "gateway": ("tar", "parquet", "csv of spans"),  # one for each way to read
}


def new_corpus(request, tmp_path, monkeypatch, name, where):
    if where == "disk":
        folder = local_folder(tmp_path / "corpus")
    else:
        server = request.getfixturevalue(where)
        folder = remote_folder(f"{server.new_bucket()}/corpus", server.storage())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Corpus(KINDS[name], folder, scratch, monkeypatch)


@pytest.fixture(
    params=[f"{name} on {where}" for where, kinds in KINDS_BY_LOCATION.items() for name in kinds]
)
def bare(request, tmp_path, monkeypatch):
    """A corpus of which nothing is stored yet."""
    return new_corpus(request, tmp_path, monkeypatch, *request.param.split(" on "))


@pytest.fixture
def corpus(bare):
    bare.write(make_recordings())
    return bare


def test_format_is_detected_and_clips_are_listed_by_name_in_a_fixed_order(corpus):
    first, again = corpus.listing(), corpus.listing()
    assert first.formats == {corpus.source: corpus.kind.format}
    assert first.text() == ("2 containers" if corpus.kind.is_container else "4 clips")
    assert (first.clips, first.containers) == (again.clips, again.containers)
    for listing in (first, again):
        assert [corpus.relative_name(each.clips[0]) for each in corpus.stream(listing)] == [
            *corpus.kind.clip_names
        ]
    known = [each.n_clips for each in first.containers if each.n_clips is not None]
    assert sum(known) in (0, len(NAMES))


def test_every_recording_decodes_to_the_original_samples(corpus):
    outcomes = corpus.read(corpus.listing())
    for i, name in enumerate(corpus.kind.clip_names):
        np.testing.assert_array_equal(outcomes[name], expected_samples(i), err_msg=name)


def test_byte_range_of_a_clip_holds_its_recording(corpus):
    """The range is read from the store directly, as a reader of the table would do."""
    for i, each in enumerate(corpus.stream(corpus.listing())):
        if not corpus.kind.has_ranges:
            assert each.clips[0].byte_range is None
            continue
        first, size = each.clips[0].byte_range
        uri = each.clips[0].uri
        files = corpus.folder.storage.filesystem(uri if "://" in uri else f"file://{uri}")
        assert files.cat_file(uri, start=first, end=first + size) == make_recordings()[NAMES[i]]


def test_columns_of_the_source_are_carried(corpus):
    wanted, carries = ("txt",), corpus.kind.carries
    assert corpus.listing().columns == (wanted if carries else ())
    if carries is None:
        with pytest.raises(UsageError, match=r"columns txt: .* none to carry; name a manifest"):
            corpus.listing(columns=wanted)
        return
    listing = corpus.listing(columns=wanted)
    assert listing.columns == wanted
    assert [each.clips[0].carried for each in corpus.stream(listing)] == [(text,) for text in TEXTS]


def test_version_changes_only_with_the_bytes(corpus):
    before = corpus.versions()
    assert corpus.versions() == before
    first = corpus.kind.file_names[0]
    uri = f"{corpus.folder.root}/{first}"
    resized = corpus.make_files(make_recordings() | {NAMES[0]: NO_RECORDING})[first]
    for other in (flip_bit(corpus.written[first]), resized):
        corpus.overwrite(first, other)
        after = corpus.versions()
        assert after.keys() == before.keys()
        assert {each for each in after if after[each] != before[each]} == {uri}
        before = after


def test_file_deleted_after_the_listing_is_missing_and_the_rest_is_read(corpus):
    listing = corpus.listing()
    corpus.folder.delete(corpus.kind.file_names[0])
    corpus.assert_only_these_fail(corpus.read(listing), corpus.indices_in_file_of(0), "missing")


def test_file_replaced_after_the_listing_is_changed_and_the_rest_is_read(corpus):
    listing = corpus.listing()
    first = corpus.kind.file_names[0]
    for other in (flip_bit(corpus.written[first]), corpus.written[first] * 2):
        corpus.overwrite(first, other)
        outcomes = corpus.read(listing)
        corpus.assert_only_these_fail(outcomes, corpus.indices_in_file_of(0), "changed")
        (message, *_) = [str(each) for each in outcomes.values() if isinstance(each, ClipError)]
        assert "changed since it was listed (version" in message


def test_old_and_new_bytes_of_a_replaced_file_are_never_mixed(corpus, monkeypatch):
    """All files are replaced, after the first bytes were read, by files of the same layout."""
    monkeypatch.setattr(container_file, "REQUEST_BYTES", 512)
    first = corpus.kind.file_names[0]
    whole = make_recordings()[NAMES[0]] if corpus.kind.is_container else corpus.written[first]
    stream = corpus.stream(corpus.listing())
    recording = next(stream)
    changed, read = [], b""
    try:
        with recording.open(ANY_SIZE) as file:
            start = file.read(10)
            corpus.write(make_recordings(seed=1))
            read = start + file.read()
    except ClipError as error:
        changed.append(error)
    assert changed or read == whole
    rest = {corpus.relative_name(each.clips[0]): decode_or_error(each) for each in stream}
    changed += [each for each in rest.values() if isinstance(each, ClipError)]
    assert {each.error_class for each in changed} <= {"changed"}
    # A file that is a single recording may have been downloaded before it was replaced.
    assert changed or not corpus.kind.is_container
    for i, name in enumerate(corpus.kind.clip_names):
        if isinstance(rest.get(name), np.ndarray):
            np.testing.assert_array_equal(rest[name], expected_samples(i), err_msg=name)


def test_a_damaged_recording_does_not_affect_the_others(bare):
    bare.write(make_recordings() | {NAMES[1]: NO_RECORDING})
    lost = bare.indices_in_file_of(1) if bare.kind.is_cut else [1]
    outcomes = bare.read(bare.listing())
    bare.assert_only_these_fail(outcomes, lost, "undecodable")


def test_missing_source_is_refused_by_name(corpus):
    if corpus.kind.source == "-":
        corpus.patch.setattr(sys, "stdin", None)
        with pytest.raises(UsageError, match="source '-' reads uris from standard input"):
            list_sources(["-"])
        return
    name = corpus.kind.source or corpus.kind.file_names[0]
    nowhere = f"{corpus.folder.root}/nowhere/{name}"
    with pytest.raises(UsageError, match=r"[Nn]o such file") as raised:
        corpus.listing(corpus.source, nowhere)
    assert nowhere in str(raised.value)


def test_missing_recording_of_a_list_is_listed_as_missing(corpus):
    corpus.folder.delete(corpus.kind.file_names[0])
    listing = corpus.listing()
    outcomes = corpus.read(listing)
    lost = corpus.indices_in_file_of(0)
    if corpus.kind.is_list:
        assert [clip.version == MISSING for clip in listing.clips] == [i in lost for i in ALL]
        corpus.assert_only_these_fail(outcomes, lost, "missing")
    else:
        assert [*outcomes] == [
            name for i, name in enumerate(corpus.kind.clip_names) if i not in lost
        ]


def test_source_without_recordings_is_refused_or_empty(bare):
    bare.write({})
    bare.folder.put("note.txt", b"nothing else")
    if bare.kind.is_container:
        # Only reading a container shows that it is empty.
        listing = bare.listing()
        assert len(listing.containers) == 2
        assert bare.read(listing) == {}
        return
    with pytest.raises(UsageError, match=r"no audio files in |has no column 'uri'") as raised:
        bare.listing()
    assert bare.source in str(raised.value)
    assert re.search("; (name files|a manifest needs|pipe in|rename the one)", str(raised.value))


# Prints the listing of sources. Opening several Arrow files at once starts threads of Arrow, which
# abort about one process in some hundreds at its end; `os._exit` avoids that.
PRINT_LISTING = """
import json, os, sys
from pipeline.planning.plan import plan_shards
from pipeline.readers.shard_reader import shard_recordings
from pipeline.sources.listing import SourceOptions
from pipeline.sources.list_sources import list_sources
from pipeline.io.storage import Storage

sources, options = json.loads(sys.argv[1])
storage = Storage(tuple(sorted(options.items())))
listing = list_sources(sources, SourceOptions(storage=storage))
shards = plan_shards(listing.clips, "spec", 100, listing.containers)
found = [each for shard in shards for each in shard_recordings(shard, storage, listing.columns)]
refs = [clip for each in found for clip in each.clips]
print(json.dumps([[ref.name, ref.clip_id, ref.version] for ref in refs]), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("where", KINDS_BY_LOCATION)
def test_clip_ids_do_not_depend_on_the_process_and_the_order_of_sources(
    request, tmp_path, monkeypatch, where
):
    """A single process lists all kinds, as starting a process takes long."""
    corpora = []
    for i, name in enumerate(KINDS_BY_LOCATION[where]):
        (tmp_path / str(i)).mkdir()
        corpora.append(new_corpus(request, tmp_path / str(i), monkeypatch, name, where))
        corpora[-1].write(make_recordings())
    sources = [corpus.source for corpus in corpora]
    stdin_text = "".join(corpus.stdin_text for corpus in corpora)
    storage = corpora[0].folder.storage
    other_process = subprocess.run(
        [
            sys.executable,
            "-c",
            PRINT_LISTING,
            json.dumps([sources[::-1], dict(storage.options)]),
        ],
        cwd=ROOT,
        input=stdin_text,
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin_text.encode())))
    listing = list_sources(sources, SourceOptions(storage=storage))
    refs = [each.clips[0] for each in corpora[0].stream(listing)]
    refs_here = [[ref.name, ref.clip_id, ref.version] for ref in refs]
    assert json.loads(other_process.stdout) == refs_here
    assert len({ref.clip_id for ref in refs}) == len(corpora) * len(NAMES)
