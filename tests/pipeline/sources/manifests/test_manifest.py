"""Tests of `pipeline.sources.manifests.manifest`: rows of every manifest format become clips."""

import json
import math

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.clips import ClipRef
from pipeline.errors import PipelineError, UsageError
from pipeline.io.storage import Storage
from pipeline.io.versions import MISSING, file_version
from pipeline.sources.list_sources import detect_format, list_sources
from pipeline.sources.listing import SourceOptions
from pipeline.sources.version_lookup import resolve_uri


def write_csv(path, rows):
    header = list(dict.fromkeys(key for row in rows for key in row))
    lines = [",".join(header)]
    lines += [",".join(str(row.get(key, "")) for key in header) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


WRITERS = {".csv": write_csv, ".jsonl": write_jsonl, ".ndjson": write_jsonl}
WRITERS[".parquet"] = write_parquet


@pytest.fixture(params=sorted(WRITERS))
def write(request, tmp_path):
    """A function that writes rows as a manifest of each format, beside a.wav and b.wav."""
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(name.encode())
    return lambda rows, name="m": WRITERS[request.param](tmp_path / f"{name}{request.param}", rows)


def listed(manifest, **options):
    return list_sources([str(manifest)], SourceOptions(**options))


def refusal(manifest, **options):
    """Return the message with which a manifest is refusal."""
    with pytest.raises(UsageError) as caught:
        listed(manifest, **options)
    return str(caught.value)


def test_a_row_is_a_clip_with_its_other_columns(write, tmp_path):
    listing = listed(
        write(
            [
                {"uri": "a.wav", "id": "x1", "speaker": "Ann"},
                {"uri": str(tmp_path / "b.wav"), "id": "x2", "speaker": ""},
            ]
        )
    )
    one, other = str(tmp_path / "a.wav"), str(tmp_path / "b.wav")
    assert listing.columns == ("id", "speaker")
    assert listing.clips == [
        ClipRef(one, file_version(one)),
        ClipRef(other, file_version(other)),
    ]
    assert [clip.carried for clip in listing.clips] == [("x1", "Ann"), ("x2", None)]
    assert {clip.span for clip in listing.clips} == {None}
    assert set(listing.formats.values()) == {"manifest"}


def test_each_span_of_a_recording_is_a_clip(write):
    rows = [
        {"uri": "a.wav", "start_s": 1, "end_s": 2.5},
        {"uri": "a.wav", "start_s": 0, "end_s": 1},
        {"uri": "b.wav", "start_s": 0.25, "end_s": 10},
    ]
    clips = listed(write(rows)).clips
    assert [(clip.member, clip.span) for clip in clips] == [
        ("t=0.0,1.0", (0.0, 1.0)),
        ("t=1.0,2.5", (1.0, 2.5)),
        ("t=0.25,10.0", (0.25, 10.0)),
    ]
    assert len({clip.clip_id for clip in clips}) == 3


@pytest.mark.parametrize(
    ("start_s", "end_s", "member", "span"),
    [
        ("", "", "", None),
        ("0", "", "", None),
        ("3", "", "t=3.0,", (3.0, math.inf)),
        ("", "4.50", "t=0.0,4.5", (0.0, 4.5)),
        ("1.0", "2", "t=1.0,2.0", (1.0, 2.0)),
        ("1e0", "02.000", "t=1.0,2.0", (1.0, 2.0)),
        ("-0.0", "2", "t=0.0,2.0", (0.0, 2.0)),
    ],
)
def test_equal_spans_have_the_same_member(tmp_path, start_s, end_s, member, span):
    manifest = write_csv(tmp_path / "m.csv", [{"uri": "a", "start_s": start_s, "end_s": end_s}])
    (clip,) = listed(manifest).clips
    assert (clip.member, clip.span) == (member, span)


@pytest.mark.parametrize(
    ("start_s", "end_s", "message"),
    [
        ("2", "1", "end_s must be more than start_s 2.0 (got '1')"),
        ("1", "1.0", "end_s must be more than start_s 1.0 (got '1.0')"),
        ("", "0", "end_s must be more than start_s 0.0 (got '0')"),
        ("-1", "1", "start_s must be seconds, 0 or more (got '-1')"),
        ("0:10", "1", "start_s must be seconds, 0 or more (got '0:10')"),
        ("nan", "1", "start_s must be seconds, 0 or more (got 'nan')"),
        ("1_0", "11", "start_s must be seconds, 0 or more (got '1_0')"),
        ("1", "inf", "end_s must be seconds, 0 or more (got 'inf')"),
    ],
)
def test_invalid_spans_are_refused(tmp_path, start_s, end_s, message):
    rows = [{"uri": "a"}, {"uri": "a", "start_s": start_s, "end_s": end_s}]
    manifest = write_csv(tmp_path / "m.csv", rows)
    assert refusal(manifest) == f"manifest {str(manifest)!r}, line 3: {message}"


def test_booleans_are_refused_as_seconds(tmp_path):
    manifest = write_jsonl(tmp_path / "m.jsonl", [{"uri": "a", "start_s": True}])
    assert "line 1: start_s must be seconds, 0 or more (got True)" in refusal(manifest)


def test_a_repeated_row_is_one_clip(write):
    row = {"uri": "a.wav", "id": "x"}
    assert len(listed(write([row, {**row, "uri": "./a.wav"}])).clips) == 1


def test_rows_that_contradict_each_other_are_refused(write, tmp_path):
    manifest = write([{"uri": "a.wav", "id": "x", "n": "1"}, {"uri": "a.wav", "id": "y", "n": "1"}])
    unit, first = ("row", 1) if manifest.suffix == ".parquet" else ("line", 1)
    first += manifest.suffix == ".csv"
    message = refusal(manifest)
    assert f"{unit} {first} and " in message
    assert f"{unit} {first + 1} name the same clip, {str(tmp_path / 'a.wav')!r}, " in message
    assert "'id' ('x', 'y')" in message
    assert len(listed(manifest, columns=("n",)).clips) == 1


def test_the_options_choose_the_columns(write):
    manifest = write([{"uri": "a.wav", "id": "x", "n": "1", "m": "2"}])
    listing = listed(manifest, columns=("m", "id"))
    assert (listing.columns, listing.clips[0].carried) == (("m", "id"), ("2", "x"))
    assert listed(manifest, columns=()).columns == ()
    assert "columns speaker: not in" in refusal(manifest, columns=("id", "speaker"))


def test_a_manifest_without_uris_is_refused_with_its_columns(write):
    message = refusal(write([{"place": "a.wav", "text": "hello"}]), format="manifest")
    assert "has no column 'uri', it has place, text; rename the one that holds paths" in message
    assert "--audio-column" in message


def test_empty_uris_are_refused(write):
    assert "uri must be a path or a URI (got " in refusal(write([{"uri": "", "id": "1"}]))


def test_values_of_all_types_are_carried_as_text(tmp_path):
    row = {"uri": "a", "n": 3, "x": 0.5, "yes": True, "none": None, "tags": ["ä", 1]}
    (clip,) = listed(write_jsonl(tmp_path / "m.jsonl", [row])).clips
    assert clip.carried == ("3", "0.5", "true", None, '["ä", 1]')


def test_lines_of_jsonl_may_have_different_fields(tmp_path):
    rows = [{"uri": "a", "n": 1}, {"uri": "b", "m": 2}]
    listing = listed(write_jsonl(tmp_path / "m.jsonl", rows))
    assert listing.columns == ("n", "m")
    assert [clip.carried for clip in listing.clips] == [("1", None), (None, "2")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "uri,id\na,1\nb\n", "line 3: has 1 cells, but the header has 2"),
        ("m.csv", 'uri,id\na,"1', "unexpected end of data"),
        ("m.csv", "uri,uri\na,b\n", "has column 'uri' more than once"),
        ("m.csv", "", "has no column 'uri', it has none"),
        ("m.csv", b"uri\n\xff.wav\n", "line 2: is not UTF-8 (byte 0xff)"),
        ("m.jsonl", '{"uri": "a"}\n{"uri": \n', "line 2: Expecting value"),
        ("m.jsonl", '["a"]\n', "line 1: is not a JSON object"),
        ("m.parquet", "PAR1", "cannot be read: "),
    ],
)
def test_damaged_manifests_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    shown = refusal(path, format="manifest")
    assert message in shown
    assert str(path) in shown


def test_a_manifest_that_would_fill_the_memory_is_refused(tmp_path):
    """300 MB of one repeated byte compress to a page of a few kilobytes."""
    path = tmp_path / "m.parquet"
    rows = pa.table({"uri": [f"{i}.wav" for i in range(3)], "text": ["a" * 100_000_000] * 3})
    pq.write_table(rows, path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 100_000
    assert "no recording is like this" in refusal(path, format="manifest")


def test_csv_of_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes('\ufeffuri,title\r\na.wav,"one, two\r\nthree"\r\n\r\nb.wav,\r\n'.encode())
    clips = listed(path).clips
    assert [clip.carried for clip in clips] == [("one, two\r\nthree",), (None,)]


def test_the_order_of_several_manifests_does_not_matter(tmp_path):
    one = write_csv(tmp_path / "1.csv", [{"uri": "a", "id": "x"}, {"uri": "b", "id": "y"}])
    two = write_jsonl(tmp_path / "2.jsonl", [{"uri": "c", "lang": "de"}])
    listing = list_sources([str(one), str(two)])
    assert listing.columns == ("id", "lang")
    assert [clip.carried for clip in listing.clips] == [("x", None), ("y", None), (None, "de")]
    reordered = list_sources([str(two), str(one)])
    assert (reordered.clips, reordered.columns) == (listing.clips, listing.columns)


def test_carried_values_are_kept_if_a_folder_holds_the_file_too(write, tmp_path):
    manifest = write([{"uri": "a.wav", "id": "x"}])
    for sources in ([str(manifest), str(tmp_path)], [str(tmp_path), str(manifest)]):
        assert [clip.carried for clip in list_sources(sources).clips] == [("x",), ()]


def test_file_uris_may_name_files_that_are_not_utf8(tmp_path):
    rows = [{"uri": "file:///c/%E9.wav"}, {"uri": "file:///c/a%20b.wav"}]
    clips = listed(write_jsonl(tmp_path / "m.jsonl", rows)).clips
    assert [clip.uri for clip in clips] == ["/c/a b.wav", "file:///c/%E9.wav"]


@pytest.mark.parametrize(
    ("columns", "format_"),
    [
        ({"uri": ["a"]}, "manifest"),
        ({"uri": ["a"], "n": [1]}, "manifest"),
        ({"uri": [1]}, "parquet"),
        ({"path": ["a"]}, "manifest"),
        ({"place": ["a"]}, "parquet"),
        ({"path": ["a"], "audio": [b"RIFF"]}, "parquet"),
        ({"uri": ["a"], "audio": [b"RIFF"]}, "parquet"),
        ({"uri": ["a"], "audio": [{"bytes": b"RIFF", "path": "a"}]}, "parquet"),
    ],
)
def test_the_format_of_a_parquet_file_is_detected_by_its_columns(tmp_path, columns, format_):
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table(columns), path)
    assert detect_format(str(path), SourceOptions()) == format_
    assert detect_format(str(tmp_path / "*.parquet"), SourceOptions()) == format_


@pytest.fixture
def bucket():
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()


def test_remote_manifests_name_recordings_beside_them(bucket):
    for n in range(30):
        bucket.pipe(f"/b/lists/audio/{n:02}.wav", b"x" * (n + 1))
    lines = [f"audio/{n:02}.wav" for n in range(31)]
    lines += ["../lists/audio/00.wav", "memory://other/1.wav", "/local/1.wav"]
    bucket.pipe("/b/lists/m.csv", "\n".join(["uri", *lines]).encode())
    clips = listed("memory://b/lists/m.csv").clips
    versions = {clip.uri: clip.version for clip in clips}
    assert len(versions) == 33
    assert versions["memory://b/lists/audio/07.wav"].startswith("8-")
    absent = ("memory://b/lists/audio/30.wav", "memory://other/1.wav", "/local/1.wav")
    assert {versions[uri] for uri in absent} == {MISSING}
    assert sum(version == MISSING for version in versions.values()) == 3


def test_many_objects_of_a_folder_are_looked_up_by_one_listing(bucket, monkeypatch):
    for n in range(30):
        bucket.pipe(f"/many/{n:02}.wav", b"x")
    for n in range(3):
        bucket.pipe(f"/few/{n:02}.wav", b"x")
    uris = [f"many/{n:02}.wav" for n in range(30)] + [f"few/{n:02}.wav" for n in range(3)]
    bucket.pipe("/m.csv", "\n".join(["uri", *uris]).encode())
    requested = []
    info, ls = type(bucket).info, type(bucket).ls
    monkeypatch.setattr(
        type(bucket),
        "info",
        lambda self, path, **kw: (requested.append(path), info(self, path, **kw))[1],
    )
    monkeypatch.setattr(
        type(bucket),
        "ls",
        lambda self, path, **kw: (requested.append(path), ls(self, path, **kw))[1],
    )
    assert len(listed("memory://m.csv").clips) == 33
    few = [path for path in requested if "few" in path]
    assert (len(few), [path for path in requested if "many" in path]) == (3, ["memory://many"])


def test_a_missing_manifest_is_refused(tmp_path, bucket):
    assert "no such file" in refusal(tmp_path / "m.csv")
    assert "memory://nowhere/m.csv" in refusal("memory://nowhere/m.csv")


def test_uris_are_normalized_and_signatures_removed(tmp_path):
    rows = [{"uri": "s3a://b/x.wav"}, {"uri": "S3://b/x.wav"}]
    manifest = write_jsonl(tmp_path / "m.jsonl", rows)
    storage = Storage((("endpoint_url", "http://127.0.0.1:9"),), timeout_s=0)
    with pytest.raises(PipelineError, match=r"looking up s3://b/x\.wav"):
        listed(manifest, storage=storage)
    assert resolve_uri("https://h/x.wav?v=1&X-Amz-Signature=abc", "/") == (
        "https://h/x.wav?v=1",
        "https://h/x.wav?v=1&X-Amz-Signature=abc",
    )


def test_passwords_in_uris_are_refused(tmp_path):
    message = refusal(write_jsonl(tmp_path / "m.jsonl", [{"uri": "ftp://me:secret@h/x.wav"}]))
    assert "line 1: source 'ftp://***@h/x.wav': contains a password" in message
    assert ":secret@" not in message
