"""Tests of `pipeline.sources.files`: the clips of folders, files and globs, and their names."""

import os
import random
import shutil

import pytest

from pipeline.clips import uri_to_path
from pipeline.errors import UsageError
from pipeline.io.versions import MISSING, file_version
from pipeline.readers.apple_double import APPLE_DOUBLE_KIND
from pipeline.sources.links import LEAVING_LINKS
from pipeline.sources.list_sources import list_sources
from pipeline.sources.listing import SourceOptions, skipped_note
from tests.pipeline.sources.corpora import write_tar


@pytest.fixture
def corpus(tmp_path):
    root = tmp_path / "corpus"
    root.mkdir()
    return root


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def listed_names(root, *sources):
    """Return the paths of the listed clips below `root`."""
    listing = list_sources([str(source) for source in sources or (root,)])
    return [os.path.relpath(uri_to_path(clip.uri), root) for clip in listing.clips]


def test_a_folder_is_searched_recursively_and_sorted(corpus):
    touch(corpus, "z.wav", "a/b/c/deep.flac", "a/x.mp3", ".hidden/h.ogg")
    assert listed_names(corpus) == [".hidden/h.ogg", "a/b/c/deep.flac", "a/x.mp3", "z.wav"]


def test_endings_of_any_case_are_accepted(corpus):
    touch(corpus, "a.WAV", "b.Flac", "c.mP3", "d.opus")
    assert listed_names(corpus) == ["a.WAV", "b.Flac", "c.mP3", "d.opus"]


def test_other_files_are_counted_by_ending(corpus):
    touch(corpus, "a.wav", "1.txt", "sub/2.TXT", "README", ".wav", "wav")
    listing = list_sources([str(corpus)])
    assert listing.skipped == {".txt": 2, "": 3}
    assert skipped_note(listing.skipped) == " (skipped 5 other files: no ending 3, .txt 2)"


def test_without_skipped_files_the_note_is_empty(corpus):
    touch(corpus, "a.wav")
    assert skipped_note(list_sources([str(corpus)]).skipped) == ""


def test_named_files_and_matches_of_globs_may_have_any_ending(corpus):
    touch(corpus, "talk.bin", "a.dat", "sub/b.dat", "c.txt")
    assert listed_names(corpus, corpus / "talk.bin") == ["talk.bin"]
    assert listed_names(corpus, corpus / "*.dat") == ["a.dat"]
    assert listed_names(corpus, corpus / "**" / "*.dat") == ["a.dat", "sub/b.dat"]


def test_a_glob_matches_hidden_files_and_searches_matched_folders(corpus):
    touch(corpus, ".h.dat", "sub1/a.wav", "sub2/b.wav", "sub2/b.txt")
    assert listed_names(corpus, corpus / "*.dat") == [".h.dat"]
    assert listed_names(corpus, corpus / "sub*") == ["sub1/a.wav", "sub2/b.wav"]


def test_an_existing_file_named_like_a_glob_is_not_expanded(corpus):
    touch(corpus, "take[1].wav", "take1.wav")
    assert listed_names(corpus, corpus / "take[1].wav") == ["take[1].wav"]


def test_a_folder_named_like_a_file_is_searched(corpus):
    touch(corpus, "album.wav/one.wav", "album.wav/cover.jpg")
    assert listed_names(corpus) == ["album.wav/one.wav"]
    assert listed_names(corpus, corpus / "*.wav") == ["album.wav/one.wav"]


def test_names_with_any_bytes_are_listed(corpus):
    names = [b"two\nlines.wav", b"caf\xe9.wav", "Möwe.wav".encode()]
    for name in names:
        with open(os.path.join(os.fsencode(corpus), name), "wb"):
            pass
    assert {os.fsencode(name) for name in listed_names(corpus)} == set(names)


def test_a_loop_of_links_is_searched_once(corpus):
    touch(corpus, "a.wav", "sub/b.wav")
    (corpus / "sub" / "up").symlink_to(corpus)
    (corpus / "round").symlink_to("round")
    assert listed_names(corpus) == ["a.wav", "sub/b.wav"]


def test_a_linked_folder_is_listed_once_under_its_real_name(corpus):
    touch(corpus, "real/a.wav")
    (corpus / "a_link").symlink_to(corpus / "real")
    (corpus / "z_link").symlink_to(corpus / "real")
    assert listed_names(corpus) == ["real/a.wav"]


def test_a_folder_outside_the_source_has_the_name_of_the_first_link(corpus, tmp_path):
    touch(tmp_path / "elsewhere", "a.wav")
    (corpus / "b_link").symlink_to(tmp_path / "elsewhere")
    (corpus / "a_link").symlink_to(tmp_path / "elsewhere")
    (clip,) = list_sources([str(corpus)], SourceOptions(follow_links=True)).clips
    assert clip.uri == str(corpus / "a_link" / "a.wav")


@pytest.mark.parametrize("pattern", ["", "*", "**/*.wav", "*/*.wav"])
def test_links_out_of_the_source_are_counted_or_followed_with_the_option(corpus, tmp_path, pattern):
    touch(tmp_path / "elsewhere", "a.wav", "b.txt")
    touch(corpus, "real/own.wav")
    (corpus / "folder").symlink_to(tmp_path / "elsewhere")
    (corpus / "real" / "file.wav").symlink_to("../../elsewhere/a.wav")
    (corpus / "real" / "within.wav").symlink_to("own.wav")
    (corpus / "real" / "note.txt").symlink_to("../../elsewhere/b.txt")
    source = os.path.join(corpus, pattern)
    listing = list_sources([source])
    assert [os.path.relpath(clip.uri, corpus) for clip in listing.clips] == [
        "real/own.wav",
        "real/within.wav",
    ]
    # Each match of a glob is counted: the folder, or the files in it.
    assert listing.skipped[LEAVING_LINKS] in (2, 1 + (pattern == "*/*.wav"))
    followed = {c.uri for c in list_sources([source], SourceOptions(follow_links=True)).clips}
    assert str(corpus / "folder" / "a.wav") in followed
    assert str(corpus / "real" / "file.wav") in followed


def test_a_link_that_the_user_names_is_followed(corpus, tmp_path):
    touch(tmp_path / "elsewhere", "a.wav")
    (corpus / "folder").symlink_to(tmp_path / "elsewhere")
    (corpus / "file.wav").symlink_to(tmp_path / "elsewhere" / "a.wav")
    assert listed_names(corpus, corpus / "folder") == ["folder/a.wav"]
    assert listed_names(corpus, corpus / "file.wav") == ["file.wav"]


def test_a_folder_with_only_links_out_is_refused_with_advice(corpus, tmp_path):
    touch(tmp_path / "elsewhere", "a.wav")
    (corpus / "a.wav").symlink_to(tmp_path / "elsewhere" / "a.wav")
    with pytest.raises(UsageError, match=r"\(--follow-links takes them\) 1"):
        list_sources([str(corpus)])


METADATA = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "


@pytest.mark.parametrize("pattern", ["", "*", "**/*.wav", "**/.*.wav"])
def test_apple_double_files_are_recognized_by_content_and_counted(corpus, pattern):
    touch(corpus, "._real.wav", "a.wav", "sub/._own.wav")
    (corpus / "._a.wav").write_bytes(METADATA)
    (corpus / "sub" / "._b.wav").write_bytes(METADATA)
    listing = list_sources([os.path.join(corpus, pattern)])
    names = [os.path.relpath(clip.uri, corpus) for clip in listing.clips]
    assert names == [
        n for n in ("._real.wav", "a.wav", "sub/._own.wav") if pattern != "**/.*.wav" or "._" in n
    ]
    assert listing.skipped == {APPLE_DOUBLE_KIND: 2}


def test_folders_of_operating_systems_are_skipped_and_counted(corpus):
    touch(corpus, "a.wav", "__MACOSX/a.wav", ".Trashes/501/b.wav", "x/.Spotlight-V100/Store/c.wav",
          "$RECYCLE.BIN/d.wav", ".Trash-1000/files/e.wav", "My.Trashes/f.wav")  # fmt: skip
    listing = list_sources([str(corpus)])
    names = [os.path.relpath(clip.uri, corpus) for clip in listing.clips]
    assert names == ["My.Trashes/f.wav", "a.wav"]
    assert listing.skipped == {
        "__MACOSX/": 1,
        ".Trashes/": 1,
        ".Spotlight-V100/": 1,
        "$RECYCLE.BIN/": 1,
        ".Trash-1000/": 1,
    }
    assert listed_names(corpus, corpus / ".Trashes" / "501") == [".Trashes/501/b.wav"]


def test_metadata_of_macos_does_not_hide_that_a_folder_holds_tars(corpus):
    write_tar(corpus / "t.tar", {"a.wav": b"x"})
    touch(corpus, "__MACOSX/a.wav")
    (corpus / "._a.wav").write_bytes(METADATA)
    (corpus / "._t.tar").write_bytes(METADATA)
    listing = list_sources([str(corpus)])
    assert [container.uri for container in listing.containers] == [str(corpus / "t.tar")]
    assert listing.skipped[APPLE_DOUBLE_KIND] == 1


def test_a_broken_link_is_listed_as_missing(corpus):
    (corpus / "gone.wav").symlink_to(corpus / "nowhere.wav")
    (clip,) = list_sources([str(corpus)]).clips
    assert clip.uri == str(corpus / "gone.wav")
    assert clip.version == MISSING


def test_one_file_under_two_names_is_two_clips(corpus):
    touch(corpus, "a.wav")
    (corpus / "hard.wav").hardlink_to(corpus / "a.wav")
    (corpus / "soft.wav").symlink_to(corpus / "a.wav")
    assert listed_names(corpus) == ["a.wav", "hard.wav", "soft.wav"]


def test_overlapping_sources_give_each_clip_once(corpus, monkeypatch):
    touch(corpus, "a.wav", "sub/b.wav", "sub/note.txt")
    monkeypatch.chdir(corpus)
    sources = [corpus, corpus / "sub", ".", "sub/b.wav", "**/*.wav", corpus / "sub" / ".." / "sub"]
    listing = list_sources([str(source) for source in sources])
    assert [clip.uri for clip in listing.clips] == [
        str(corpus / "a.wav"),
        str(corpus / "sub" / "b.wav"),
    ]
    assert listing.skipped == {".txt": 1}


def test_the_order_of_sources_does_not_matter(corpus, tmp_path):
    touch(corpus, "real/a.wav", "real/deep/b.wav", "c.wav")
    touch(tmp_path / "elsewhere", "d.wav")
    (corpus / "out").symlink_to(tmp_path / "elsewhere")  # a source itself, so the link is allowed
    (tmp_path / "link").symlink_to(corpus / "real")
    sources = [corpus, tmp_path / "link", corpus / "out", tmp_path / "elsewhere", corpus / "real"]
    expected = listed_names(tmp_path, *sources)
    assert expected == ["corpus/c.wav", "corpus/real/a.wav", "corpus/real/deep/b.wav",
                        "elsewhere/d.wav"]  # fmt: skip
    for seed in range(10):
        random.Random(seed).shuffle(sources)
        assert listed_names(tmp_path, *sources) == expected


def test_a_version_changes_with_size_and_with_time(corpus):
    file = corpus / "a.wav"
    file.write_bytes(b"1234")
    first = file_version(str(file))
    os.utime(file, ns=(1, 1))
    second = file_version(str(file))
    file.write_bytes(b"12345")
    os.utime(file, ns=(1, 1))
    assert second == "4-1"
    assert len({first, second, file_version(str(file))}) == 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.wav", "no such file or folder"),
        ("no*thing", "matches no file"),
        ("file:///nothing", "no such file or folder"),
        ("nosuch://bucket/corpus", "nosuch"),
    ],
)
def test_sources_that_cannot_be_read_are_named(corpus, monkeypatch, source, message):
    monkeypatch.chdir(corpus)
    touch(corpus, "a.wav")
    with pytest.raises(UsageError, match=message) as raised:
        list_sources(["a.wav", source])
    assert source.removeprefix("file://") in str(raised.value)


def test_a_file_uri_names_its_path(corpus):
    touch(corpus, "Ä b#c.wav", "sub/d%20.wav")
    uri = corpus.as_uri()
    assert listed_names(corpus, uri) == ["sub/d%20.wav", "Ä b#c.wav"]
    assert listed_names(corpus, f"{uri}/sub/d%2520.wav") == ["sub/d%20.wav"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (("*.wav",), (), ["a.wav", "noise/c.wav", "x/noise/d.wav"]),
        ((), ("noise/",), ["a.wav", "b.mp3", "x/noise/d.wav"]),
        ((), ("*/noise/*",), ["a.wav", "b.mp3", "noise/c.wav"]),
        (("x/*", "b*"), ("*.mp3",), ["x/noise/d.wav"]),
        (("./a.wav", "/noise/*"), (), ["a.wav", "noise/c.wav"]),
        (("[ab].*",), (), ["a.wav", "b.mp3"]),
    ],
)
def test_patterns_are_compared_with_the_path_below_the_source(corpus, include, exclude, expected):
    touch(corpus, "a.wav", "b.mp3", "noise/c.wav", "x/noise/d.wav")
    listing = list_sources([str(corpus)], SourceOptions(include=include, exclude=exclude))
    paths = [os.path.relpath(clip.uri, corpus) for clip in listing.clips]
    assert paths == expected
    assert listing.skipped.total() == 4 - len(expected)


def test_patterns_apply_to_named_files_and_globs_too(corpus):
    touch(corpus, "a.wav", "sub/b.wav", "sub/c.wav")
    options = SourceOptions(exclude=("b.wav", "sub/c*"))
    sources = [str(corpus / "**" / "*.wav"), str(corpus / "sub" / "b.wav")]
    assert [clip.uri for clip in list_sources(sources, options).clips] == [str(corpus / "a.wav")]


def test_a_folder_without_audio_is_refused_with_the_endings_of_its_files(corpus):
    touch(corpus, "a.txt", "b.txt")
    with pytest.raises(UsageError, match=r"skipped 2 other files: \.txt 2") as raised:
        list_sources([str(corpus)])
    assert str(corpus) in str(raised.value)


LIST_AND_PRINT_ERROR = """
import sys
from pipeline.errors import UsageError
from pipeline.sources.list_sources import list_sources
try:
    list_sources(sys.argv[1:])
except UsageError as error:
    print(error)
"""


def test_a_folder_that_cannot_be_listed_is_named(corpus, start_python):
    touch(corpus, "a.wav", "closed/b.wav")
    (corpus / "closed").chmod(0)
    wrapper = ()
    if os.geteuid() == 0:  # root can list every folder, unless it drops that capability
        if not shutil.which("setpriv"):
            pytest.skip("setpriv is needed to test this as root")
        wrapper = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    output, _ = start_python(LIST_AND_PRINT_ERROR, corpus, before=wrapper).communicate()
    (corpus / "closed").chmod(0o700)
    assert f"folder {str(corpus / 'closed')!r} cannot be listed: Permission denied" in output


@pytest.mark.parametrize(
    "options", [SourceOptions(include=("*.mp3",)), SourceOptions(exclude=("*.wav",))]
)
def test_patterns_that_exclude_every_file_are_named_as_the_reason(corpus, options):
    touch(corpus, "a.wav", "b.wav", "notes.txt")
    with pytest.raises(UsageError, match="--include and --exclude leave nothing of") as raised:
        list_sources([str(corpus)], options)
    assert "they exclude 2 files" in str(raised.value)
    assert "no audio files" not in str(raised.value)
