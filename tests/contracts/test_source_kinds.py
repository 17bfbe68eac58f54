"""Every kind of source keeps the same promises, on disk and in a store, up to the decoded samples.

What places promise of single files is in `test_sources`; here are the kinds: files, tars, Parquet
and Arrow, manifests, with spans and without, and names on standard input.
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
from tests.contracts.corpus import ALL, Corpus, as_put, decoded, flipped
from tests.contracts.kinds import KINDS, NAMES, NO_RECORDING, TEXTS, contents
from tests.contracts.places import ANY_SIZE, local_folder, remote_folder
from tests.support import ROOT

# Of these the bytes come from a store as those of others do.
PARSED_ALIKE = ("arrow stream", "jsonl", "jsonl of spans", "parquet of spans")
PLACES = {
    "disk": tuple(KINDS),
    "moto": tuple(name for name in KINDS if name not in PARSED_ALIKE),
    "gateway": ("tar", "parquet", "csv of spans"),  # one of each way to read
}


def new_corpus(request, tmp_path, monkeypatch, name, where):
    if where == "disk":
        place = local_folder(tmp_path / "corpus")
    else:
        server = request.getfixturevalue(where)
        place = remote_folder(f"{server.new_bucket()}/corpus", server.storage())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Corpus(KINDS[name], place, scratch, monkeypatch)


@pytest.fixture(params=[f"{name} on {where}" for where, kinds in PLACES.items() for name in kinds])
def bare(request, tmp_path, monkeypatch):
    """Nothing is stored yet."""
    return new_corpus(request, tmp_path, monkeypatch, *request.param.split(" on "))


@pytest.fixture
def corpus(bare):
    bare.write(contents())
    return bare


def test_a_source_is_recognized_and_listed_in_one_order_with_names_that_locate(corpus):
    first, again = corpus.listing(), corpus.listing()
    assert first.formats == {corpus.source: corpus.kind.format}
    assert first.text() == ("2 containers" if corpus.kind.is_container else "4 clips")
    assert (first.clips, first.containers) == (again.clips, again.containers)
    for listing in (first, again):
        assert [corpus.below(each.clips[0]) for each in corpus.stream(listing)] == [
            *corpus.kind.found
        ]
    known = [each.n_clips for each in first.containers if each.n_clips is not None]
    assert sum(known) in (0, len(NAMES))


def test_every_recording_decodes_to_what_was_put(corpus):
    outcomes = corpus.read(corpus.listing())
    for i, name in enumerate(corpus.kind.found):
        np.testing.assert_array_equal(outcomes[name], as_put(i), err_msg=name)


def test_a_range_that_is_promised_holds_the_recording(corpus):
    """Asked of the store itself, as somebody would who has a row of the table alone."""
    for i, each in enumerate(corpus.stream(corpus.listing())):
        if not corpus.kind.has_ranges:
            assert each.clips[0].byte_range is None
            continue
        first, size = each.clips[0].byte_range
        uri = each.clips[0].uri
        files = corpus.place.storage.filesystem(uri if "://" in uri else f"file://{uri}")
        assert files.cat_file(uri, start=first, end=first + size) == contents()[NAMES[i]]


def test_what_the_source_says_of_a_recording_comes_with_it(corpus):
    wanted, carries = ("txt",), corpus.kind.carries
    assert corpus.listing().columns == (wanted if carries else ())
    if carries is None:
        with pytest.raises(UsageError, match=r"columns txt: .* none to carry; name a manifest"):
            corpus.listing(columns=wanted)
        return
    listing = corpus.listing(columns=wanted)
    assert listing.columns == wanted
    assert [each.clips[0].carried for each in corpus.stream(listing)] == [(text,) for text in TEXTS]


def test_a_version_changes_with_the_bytes_alone(corpus):
    before = corpus.versions()
    assert corpus.versions() == before
    first = corpus.kind.holders[0]
    uri = f"{corpus.place.root}/{first}"
    resized = corpus.files(contents() | {NAMES[0]: NO_RECORDING})[first]
    for other in (flipped(corpus.written[first]), resized):
        corpus.overwrite(first, other)
        after = corpus.versions()
        assert after.keys() == before.keys()
        assert {each for each in after if after[each] != before[each]} == {uri}
        before = after


def test_what_was_deleted_since_it_was_listed_is_missing_and_the_rest_is_read(corpus):
    listing = corpus.listing()
    corpus.place.delete(corpus.kind.holders[0])
    corpus.assert_only_lost(corpus.read(listing), corpus.in_file_of(0), "missing")


def test_what_was_replaced_since_it_was_listed_is_changed_and_the_rest_is_read(corpus):
    listing = corpus.listing()
    first = corpus.kind.holders[0]
    for other in (flipped(corpus.written[first]), corpus.written[first] * 2):
        corpus.overwrite(first, other)
        outcomes = corpus.read(listing)
        corpus.assert_only_lost(outcomes, corpus.in_file_of(0), "changed")
        (said, *_) = [str(each) for each in outcomes.values() if isinstance(each, ClipError)]
        assert "changed since it was listed (version" in said


def test_what_is_replaced_while_it_is_read_is_never_mixed(corpus, monkeypatch):
    """After the first bytes of the first recording all is replaced, by files of the same layout."""
    monkeypatch.setattr(container_file, "REQUEST_BYTES", 512)
    first = corpus.kind.holders[0]
    whole = contents()[NAMES[0]] if corpus.kind.is_container else corpus.written[first]
    stream = corpus.stream(corpus.listing())
    recording = next(stream)
    changed, read = [], b""
    try:
        with recording.open(ANY_SIZE) as file:
            start = file.read(10)
            corpus.write(contents(seed=1))
            read = start + file.read()
    except ClipError as error:
        changed.append(error)
    assert changed or read == whole
    rest = {corpus.below(each.clips[0]): decoded(each) for each in stream}
    changed += [each for each in rest.values() if isinstance(each, ClipError)]
    assert {each.error_class for each in changed} <= {"changed"}
    # Single recordings may have been fetched by then, as they were.
    assert changed or not corpus.kind.is_container
    for i, name in enumerate(corpus.kind.found):
        if isinstance(rest.get(name), np.ndarray):
            np.testing.assert_array_equal(rest[name], as_put(i), err_msg=name)


def test_a_damaged_recording_is_an_error_of_its_own(bare):
    bare.write(contents() | {NAMES[1]: NO_RECORDING})
    lost = bare.in_file_of(1) if bare.kind.is_cut else [1]
    outcomes = bare.read(bare.listing())
    bare.assert_only_lost(outcomes, lost, "undecodable")


def test_a_source_that_is_not_there_is_refused_by_its_name(corpus):
    if corpus.kind.source == "-":
        corpus.patch.setattr(sys, "stdin", None)
        with pytest.raises(UsageError, match="source '-' reads uris from standard input"):
            list_sources(["-"])
        return
    name = corpus.kind.source or corpus.kind.holders[0]
    nowhere = f"{corpus.place.root}/nowhere/{name}"
    with pytest.raises(UsageError, match=r"[Nn]o such file") as raised:
        corpus.listing(corpus.source, nowhere)
    assert nowhere in str(raised.value)


def test_what_only_a_list_knows_of_is_listed_and_missing(corpus):
    corpus.place.delete(corpus.kind.holders[0])
    listing = corpus.listing()
    outcomes = corpus.read(listing)
    lost = corpus.in_file_of(0)
    if corpus.kind.is_list:
        assert [clip.version == MISSING for clip in listing.clips] == [i in lost for i in ALL]
        corpus.assert_only_lost(outcomes, lost, "missing")
    else:
        assert [*outcomes] == [name for i, name in enumerate(corpus.kind.found) if i not in lost]


def test_a_source_without_recordings_says_so(bare):
    bare.write({})
    bare.place.put("note.txt", b"nothing else")
    if bare.kind.is_container:
        # Only its reading can tell.
        listing = bare.listing()
        assert len(listing.containers) == 2
        assert bare.read(listing) == {}
        return
    with pytest.raises(UsageError, match=r"no audio files in |has no column 'uri'") as raised:
        bare.listing()
    assert bare.source in str(raised.value)
    assert re.search("; (name files|a manifest names|pipe in|rename the one)", str(raised.value))


# Arrow's threads, started where several Arrow files are opened at once, abort one process of some
# hundreds as it ends; what is asked here has been said by then.
LISTED_ELSEWHERE = """
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


@pytest.mark.parametrize("where", PLACES)
def test_ids_are_the_same_in_another_process_whichever_source_is_named_first(
    request, tmp_path, monkeypatch, where
):
    """All kinds at once, as starting a process takes long."""
    corpora = []
    for i, name in enumerate(PLACES[where]):
        (tmp_path / str(i)).mkdir()
        corpora.append(new_corpus(request, tmp_path / str(i), monkeypatch, name, where))
        corpora[-1].write(contents())
    sources = [corpus.source for corpus in corpora]
    lines = "".join(corpus.lines for corpus in corpora)
    storage = corpora[0].place.storage
    elsewhere = subprocess.run(
        [
            sys.executable,
            "-c",
            LISTED_ELSEWHERE,
            json.dumps([sources[::-1], dict(storage.options)]),
        ],
        cwd=ROOT,
        input=lines,
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    listing = list_sources(sources, SourceOptions(storage=storage))
    refs = [each.clips[0] for each in corpora[0].stream(listing)]
    here = [[ref.name, ref.clip_id, ref.version] for ref in refs]
    assert json.loads(elsewhere.stdout) == here
    assert len({ref.clip_id for ref in refs}) == len(corpora) * len(NAMES)
