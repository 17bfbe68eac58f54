"""Tests of manifests from other tools (NeMo, Lhotse, Common Voice), and of lists and encodings."""

import gzip
import json

import fsspec
import pytest

from pipeline.errors import UsageError
from pipeline.sources.detect_format import detect_format
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions


@pytest.fixture
def folder(tmp_path):
    """A folder with a.wav and b.wav."""
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def listed(path, **options):
    listing = list_sources([str(path)], SourceOptions(**options))
    assert set(listing.formats.values()) == {"manifest"}
    return listing


def clips(path, **options):
    """Return the file name, span and carried values of each clip."""
    return [
        (clip.uri.rpartition("/")[2], clip.span, clip.carried)
        for clip in listed(path, **options).clips
    ]


def refusal(path, **options):
    """Return the message with which a source is refusal; it has a single line."""
    with pytest.raises(UsageError) as caught:
        list_sources([str(path)], SourceOptions(**options))
    message = str(caught.value)
    assert "\n" not in message
    return message


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def json_lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["m.json", "m.jsonl", "m.ndjson", "m.txt", "m.json.gz"])
def test_parts_of_recordings_in_nemos_columns_are_cut(folder, name):
    content = json_lines(
        {"audio_filepath": "a.wav", "offset": 0.1, "duration": 0.2, "text": "one"},
        {"audio_filepath": "a.wav", "duration": 0.5, "text": "two"},
        {"audio_filepath": "b.wav", "offset": 3, "text": "three"},
        {"audio_filepath": "b.wav", "text": "all"},
    ).encode()
    path = write(folder / name, gzip.compress(content) if name.endswith(".gz") else content)
    assert sorted(clips(path), key=str) == [
        ("a.wav", (0.0, 0.5), ("two",)),
        ("a.wav", (0.1, 0.3), ("one",)),
        ("b.wav", (3.0, float("inf")), ("three",)),
        ("b.wav", None, ("all",)),
    ]


@pytest.mark.parametrize(
    ("offset", "duration", "message"),
    [
        ("NaN", "1", "offset must be seconds, 0 or more (got nan)"),
        ("-1", "1", "offset must be seconds, 0 or more (got -1)"),
        ("1", "-1", "duration must be seconds, 0 or more (got -1)"),
        ("1", "0", "duration must be more than 0 (got 0)"),
        ('"0:10"', "1", "offset must be seconds, 0 or more (got '0:10')"),
    ],
)
def test_invalid_spans_are_refused_with_their_line(folder, offset, duration, message):
    line = f'{{"audio_filepath": "a.wav", "offset": {offset}, "duration": {duration}}}\n'
    path = write(folder / "m.json", json_lines({"audio_filepath": "b.wav"}) + line)
    assert f"manifest {str(path)!r}, line 2: {message}" in refusal(path)


RECORDING = {
    "id": "r1",
    "sources": [{"type": "file", "channels": [0], "source": "a.wav"}],
    "sampling_rate": 16000,
    "num_samples": 48000,
    "duration": 3.0,
    "channel_ids": [0],
}
CUT = {
    "id": "c1",
    "start": 1.0,
    "duration": 0.5,
    "channel": 0,
    "supervisions": [
        {"id": "s", "recording_id": "r1", "start": 0, "duration": 0.5, "channel": 0,
         "text": "hello", "speaker": "Ann"}
    ],
    "recording": RECORDING,
    "type": "MonoCut",
}  # fmt: skip


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_cuts_of_lhotse_are_parts_of_their_recordings(folder, name):
    whole = CUT | {"id": "c2", "start": 0, "duration": 3.0, "supervisions": []}
    content = json_lines(CUT, whole).encode()
    path = write(folder / name, gzip.compress(content) if name.endswith(".gz") else content)
    listing = listed(path)
    assert listing.columns == ("id", "recording_id", "text", "speaker")
    assert clips(path) == [
        ("a.wav", None, ("c2", "r1", None, None)),
        ("a.wav", (1.0, 1.5), ("c1", "r1", "hello", "Ann")),
    ]


def test_recordings_of_lhotse_are_clips(folder):
    path = write(folder / "recordings.jsonl", json_lines(RECORDING))
    assert clips(path) == [("a.wav", None, ("r1",))]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (CUT["supervisions"][0], "supervision of Lhotse, .* by its id alone; create cuts"),
        ({"id": "m", "tracks": [{"cut": CUT, "offset": 0}], "type": "MixedCut"}, "mixed cut"),
        ({"id": "p", "start": 0, "duration": 1, "type": "MonoCut"}, "without a recording"),
        (
            RECORDING | {"sources": [{"type": "command", "source": "touch x"}]},
            "a source of type 'command'",
        ),
        (RECORDING | {"sources": RECORDING["sources"] * 2}, "does not lie in one file"),
        (RECORDING | {"transforms": [{"name": "Speed"}]}, "with transforms"),
        (
            CUT | {"channel": 1, "recording": RECORDING | {"channel_ids": [0, 1]}},
            "is a cut of channel 1 of 2, and the channels of a recording are mixed",
        ),
    ],
)
def test_unsupported_objects_of_lhotse_are_refused_by_name(folder, row, message):
    path = write(folder / "m.jsonl", json_lines(RECORDING, row))
    with pytest.raises(UsageError, match=f"line 2: .*{message}"):
        list_sources([str(path)])


COMMON_VOICE = (
    'client_id\tpath\tsentence\tup_votes\n1f\tx.mp3\t"Yes," she said.\t2\n1f\ty.mp3\t"No\t0\n'
)


def test_paths_of_common_voice_begin_at_the_folder_clips(tmp_path):
    path = write(tmp_path / "validated.tsv", COMMON_VOICE)
    found = listed(path).clips
    assert [clip.uri for clip in found] == [f"{tmp_path}/clips/{n}.mp3" for n in "xy"]
    assert [clip.carried[1] for clip in found] == ['"Yes," she said.', '"No']
    (tmp_path / "x.mp3").write_bytes(b"x")  # other tools write a table beside its recordings
    assert listed(path).clips[0].uri == f"{tmp_path}/x.mp3"


def test_paths_of_common_voice_in_a_store_begin_at_the_folder_clips(tmp_path):
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pipe("/cv/validated.tsv", COMMON_VOICE.encode())
    files.pipe("/cv/clips/x.mp3", b"x")
    versions = {clip.uri: clip.version for clip in listed("memory://cv/validated.tsv").clips}
    assert versions["memory://cv/clips/x.mp3"].startswith("1-")
    assert versions["memory://cv/clips/y.mp3"] == "missing"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt"])
def test_a_delimiter_is_found_by_the_header(folder, delimiter, ending):
    lines = [["uri", "start", "end", "text"], ["a.wav", "1", "2", "x y"]]
    path = folder / f"m{ending}"
    write(path, "\n".join(delimiter.join(cells) for cells in lines) + "\n")
    assert clips(path) == [("a.wav", (1.0, 2.0), ("x y",))]


def test_a_delimiter_that_excel_names_is_used(folder):
    path = write(folder / "m.csv", "sep=;\r\nuri;text\r\na.wav;x\r\nb.wav\r\n")
    assert "line 4: has 1 cells, but the header has 2" in refusal(path)


def test_a_header_without_a_known_column_is_refused_with_its_delimiter(folder):
    path = write(folder / "m.csv", "LJ001-0001|one|one\nLJ001-0002|two|two\n")
    assert "has no column 'uri'" in refusal(path)
    assert "it seems to be delimited by '|'" in refusal(path)


def test_only_quotes_around_cells_are_removed_in_a_table_with_tabs(folder):
    path = write(folder / "m.tsv", 'path\ttext\na.wav\t"say ""hi"" to"\nb.wav\t"a" or "b"\n')
    assert [values for _, _, (values,) in clips(path)] == ['say "hi" to', '"a" or "b"']
    path = write(folder / "q.tsv", '"path"\t"text"\n"a.wav"\t"one\ttwo"\n')
    assert clips(path) == [("a.wav", None, ("one\ttwo",))]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.json", "m.txt"])
def test_an_encoding_with_a_byte_order_mark_is_read(folder, encoding, name):
    (folder / "ä.wav").write_bytes(b"x")
    content = {".csv": "uri\nä.wav\n", ".txt": "ä.wav\n"}.get(
        name[1:], json.dumps({"uri": "ä.wav"}, ensure_ascii=False) + "\n"
    )
    path = write(folder / name, content.encode(encoding))
    assert clips(path) == [("ä.wav", None, ())]


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl", "m.json", "m.txt"])
def test_an_encoding_without_a_byte_order_mark_is_refused_by_its_name(folder, name):
    content = "uri\na.wav\nä.wav\n" if "json" not in name else '{"uri": "ä.wav"}\n'
    path = write(folder / name, content.encode("latin-1"))
    assert "is not UTF-8 (byte 0xe4), perhaps Latin-1 or Windows-1252" in refusal(path)
    for encoding in ("utf-16-le", "utf-16-be"):
        write(path, content.encode(encoding))
        assert "seems to be UTF-16 without a byte order mark" in refusal(path)


@pytest.mark.parametrize("name", ["l.txt", "l.lst", "l.list", "l.m3u", "l.m3u8"])
def test_each_line_of_a_list_is_a_clip(folder, name):
    (folder / "rec").write_bytes(b"x")
    path = write(folder / name, "\ufeffa.wav\n\n./b.wav\r\n/not/there.flac\nrec\n")
    assert [name for name, *_ in clips(path)] == ["there.flac", "a.wav", "b.wav", "rec"]
    assert "columns text: not in" in refusal(path, columns=("text",))


def test_a_line_with_any_bytes_is_a_clip_if_it_names_a_file(folder):
    (folder / "\udce9.wav").write_bytes(b"x")
    path = write(folder / "l.txt", b"a.wav\n\xe9.wav\n")
    assert [name for name, *_ in clips(path)] == ["a.wav", "%E9.wav"]


def test_comments_of_a_playlist_are_ignored_and_a_stream_is_refused(folder):
    path = write(folder / "l.m3u", "#EXTM3U\n#EXTINF:3,Song\na.wav\n")
    assert [name for name, *_ in clips(path)] == ["a.wav"]
    path = write(folder / "s.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\na.ts\n")
    assert "line 2: belongs to a playlist of a stream (HLS)" in refusal(path)


@pytest.mark.parametrize("content", ["a.wav\nhello world\n", "a.wav\thello\n", "Readme first.\n"])
def test_text_that_is_not_a_list_of_recordings_is_refused(folder, content):
    message = refusal(write(folder / "notes.txt", content))
    assert "is neither a URI nor a file with an audio ending" in message
    assert "--source-format files" in message


def test_a_json_array_is_read_and_an_object_without_uri_is_refused(folder):
    rows = [{"path": "a.wav", "text": "x"}, {"path": "b.wav"}]
    path = write(folder / "m.json", json.dumps(rows, indent=1))
    assert clips(path) == [("a.wav", None, ("x",)), ("b.wav", None, (None,))]
    path = write(folder / "p.json", json.dumps(["a.wav", "b.wav"]))
    assert len(clips(path)) == 2
    path = write(folder / "one.json", json.dumps({"uri": "a.wav"}, indent=1))
    assert clips(path) == [("a.wav", None, ())]
    path = write(folder / "d.json", json.dumps({"utt1": {"wav": "a.wav"}}, indent=1))
    assert "is one JSON object (utt1); write one object per line" in refusal(path)
    path = write(folder / "bad.json", '[{"uri": "a.wav"}, 3]')
    assert "item 2: is not a JSON object" in refusal(path)


@pytest.mark.parametrize("name", ["m.jsonl", "m.json"])
def test_json_that_is_nested_too_deeply_is_refused(folder, name):
    deep = "[" * 200_000
    for content in (deep, f'{{"uri": "a.wav", "x": {deep}'):
        assert "is nested too deeply" in refusal(write(folder / name, content))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.zip", "is an archive; unpack it and name the folder"),
        ("a.7z", "is an archive"),
        ("a.RAR", "is an archive"),
        ("a.wav.gz", "is a compressed file, not a tar; unpack it"),
        ("a.xlsx", "save it as .csv"),
        ("wav.scp", "is a list of Kaldi"),
        ("a.TextGrid", "write a manifest with the columns uri, start_s and end_s"),
        ("a.npy", "holds arrays"),
        ("a.pls", "save it as .m3u"),
    ],
)
def test_a_source_that_holds_no_recordings_is_refused_with_advice(folder, name, message):
    path = write(folder / name, "x")
    for source in (path, f"memory://b/{name}", folder / f"*{name[1:]}"):
        assert message in refusal(source)
    assert detect_format(str(path), SourceOptions(format="files")) == "files"


def test_a_compressed_manifest_that_is_damaged_is_refused(folder):
    content = gzip.compress(b"uri\na.wav\n" * 1000)
    assert "cannot be unpacked as gzip" in refusal(write(folder / "m.csv.gz", content[:-20]))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("zip://a.wav::file:///x.zip", "files inside archives have no URI here"),
        ("dir:///etc", "the scheme 'dir' is not one of a store"),
        ("foo://b/x.wav", "the scheme 'foo' is not one of a store"),
        ("data://text/plain,x", "the scheme 'data' is not one of a store"),
        ("simplecache::http://h/x.wav", ""),
        ("http://[::1/x.wav", "is no valid URL"),
        ("http://h:99999/x.wav", "is no valid URL"),
        ("reference://x", "the scheme 'reference' is not one of a store"),
        ("http:///x.wav", "names no host"),
        ("s3://", "names no bucket"),
        ("file://other/x.wav", "names a file on the machine 'other'"),
        ("a\0.wav", "cannot be the name of a file"),
        ("\ud800.wav", "cannot be the name of a file"),
    ],
)
def test_uris_that_no_store_can_have_are_refused_by_name(folder, uri, message):
    path = write(folder / "m.jsonl", json_lines({"uri": "a.wav"}, {"uri": uri}))
    if not message:  # no scheme at its start, so it is the name of a missing file
        assert clips(path)[-1][0] == "x.wav"
        return
    assert f"line 2: {message}" in refusal(path) or message in refusal(path)
    if "\0" not in uri and "\ud800" not in uri:
        assert message in refusal(uri)


@pytest.mark.parametrize("prefix", ["file://", "file://localhost", "file:", "FILE://"])
def test_all_forms_of_file_uris_are_accepted(folder, prefix):
    uri = f"{prefix}{folder}/a.wav"
    path = write(folder / "m.jsonl", json_lines({"uri": uri}))
    assert [clip.uri for clip in listed(path).clips] == [f"{folder}/a.wav"]
    for source in (uri, f"{prefix}{folder}", f"{prefix}{folder}/*.wav"):
        found = [clip.uri for clip in list_sources([source]).clips]
        assert f"{folder}/a.wav" in found
    assert [clip.uri for clip in listed(f"{prefix}{path}").clips] == [f"{folder}/a.wav"]


@pytest.mark.parametrize(
    "row",
    [
        {"uri": "x" * 10_000_000 + "\0"},
        {"uri": ["x" * 100_000] * 100},
        {"uri": "a.wav", "start": "9" * 1_000_000},
        {"uri": "a.wav", "start": {"x": list(range(100_000))}},
        {f"c{i}": "x" for i in range(100_000)},
        {"uri": "a.wav"} | {f"c{i}": "x" for i in range(100_000)},
    ],
)
def test_a_message_about_a_huge_row_is_short(folder, row):
    assert len(refusal(write(folder / "m.jsonl", json_lines(row)))) < 1000


@pytest.mark.parametrize("depth", [100, 900, 950, 970, 980, 990, 1000])
def test_a_deeply_nested_value_is_carried_or_refused(folder, depth):
    value = "[" * depth + "]" * depth
    path = write(folder / "m.jsonl", f'{{"uri": "a.wav", "x": {value}}}\n')
    message = ""
    try:
        assert len(clips(path)[0][2][0]) == 2 * depth
    except UsageError as error:
        message = str(error)
    assert "\n" not in message
