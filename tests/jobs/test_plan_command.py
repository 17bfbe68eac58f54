"""`passtream plan` beside what `embed` then writes: hours, windows and errors are the same."""

import json
import os
import shutil
from collections import Counter

import pyarrow.parquet as pq
import pytest
import soundfile

from tests.mixed_corpus import ERRORS, N_SOUND, encode, write_mixed
from tests.pipeline.sources.corpora import wav, write_parquet, write_tar
from tests.servers import KEY, SECRET
from tests.support import QUICK, error_rows, passtream, tone, write_tones

HERE = (*QUICK, "--in-process", "--max-error-ratio", 1)
ARCH = QUICK[:2]
CPU = "epyc-zen4-2-cores"


def plan(*args):
    done = passtream("plan", *args, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def embed(*args):
    done = passtream("embed", *args, *HERE)
    assert done.returncode == 0, done.stderr


def assert_as_written(planned, table):
    """Hours, windows, errors and rows are those of a table."""
    rows = pq.read_table(table / "clips", columns=["duration_s", "n_windows"]).to_pydict()
    assert planned["audio_s"] == pytest.approx(sum(rows["duration_s"]), rel=1e-6)
    assert planned["audio_h"] == pytest.approx(sum(rows["duration_s"]) / 3600, rel=1e-6)
    assert planned["windows"] == sum(rows["n_windows"])
    assert planned["clips_to_embed"] == planned["output"]["rows"]["clips"] == len(rows["n_windows"])
    found = error_rows(table) if any((table / "errors").iterdir()) else {}
    assert planned["errors"] == Counter(error_class for error_class, _ in found.values())


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return write_mixed(tmp_path_factory.mktemp("mixed") / "corpus")


@pytest.fixture(scope="module")
def embedded(mixed, tmp_path_factory):
    table = tmp_path_factory.mktemp("mixed-table") / "table"
    embed(mixed, table)
    return table


def test_a_mixed_corpus(mixed, embedded, tmp_path):
    planned = plan(mixed, tmp_path / "table", *ARCH)
    assert not (tmp_path / "table").exists()
    assert_as_written(planned, embedded)
    assert planned["errors"] == Counter(ERRORS.values())
    assert planned["clips"] == N_SOUND + len(ERRORS)
    files = [path for path in mixed.rglob("*") if path.is_file()]
    assert planned["bytes"] == sum(path.stat().st_size for path in files)
    # A clip with an error has a rate where its header can be read, as all but three of these.
    assert sum(planned["sample_rates_hz"].values()) == N_SOUND + len(ERRORS) - 3
    assert sum(bin_["clips"] for bin_ in planned["durations_s"]) == N_SOUND
    assert planned["estimated"]["clips"] == 0
    assert planned["changes"] is None
    assert planned["table"] == str(tmp_path / "table")


def test_the_size_of_the_table_is_about_what_it_becomes(tmp_path):
    write_tones(tmp_path / "corpus", [0.3] * 40)
    options = (
        "--shard-clips",
        20,
        "--tables",
        "clips,windows",
        "--outputs",
        "embedding,logits,labels",
    )
    planned = plan(tmp_path / "corpus", *ARCH, *options)
    embed(tmp_path / "corpus", tmp_path / "table", *options)
    files = [path for path in (tmp_path / "table").rglob("*") if path.is_file()]
    written = sum(path.stat().st_size for path in files)
    assert planned["shards"] == 2
    assert 0.75 * written < planned["output"]["bytes"] < 1.25 * written


def test_of_a_table_only_what_is_not_done(mixed, embedded):
    planned = plan(mixed, embedded)
    n_clips = N_SOUND + len(ERRORS)
    assert planned["changes"]["done"] == {"clips": n_clips, "containers": 0}
    assert (planned["clips"], planned["windows"], planned["shards"]) == (0, 0, 0)


def test_a_source_that_grew_changed_and_shrank(tmp_path):
    corpus, table = tmp_path / "corpus", tmp_path / "table"
    write_tones(corpus, (0.3, 0.4, 0.5, 0.6))
    embed(corpus, table)
    os.remove(corpus / "000.wav")
    soundfile.write(corpus / "001.wav", tone(11.0, 32_000), 32_000)
    write_tones(corpus / "more", (0.25, 0.75))
    planned = plan(corpus, "--table", table)
    counts = {name: each["clips"] for name, each in planned["changes"].items()}
    assert counts == {"new": 2, "changed": 1, "gone": 1, "done": 2}
    # 11 s are three windows, as three are of 10 s and 5 s apart.
    assert planned["audio_s"] == pytest.approx(12.0)
    text = passtream("plan", corpus, table).stdout
    for line in ("new        2 clips", "changed    1 clips", "gone       1 clips"):
        assert line in text
    embed(corpus, table)
    rows = pq.read_table(table / "clips", columns=["uri", "n_windows"]).to_pylist()
    done = ("000.wav", "002.wav", "003.wav")
    n_windows = sum(
        row["n_windows"] for row in rows if not row["uri"].endswith(done) or "/more/" in row["uri"]
    )
    assert planned["windows"] == n_windows


def test_other_settings_than_the_tables_are_refused(tmp_path):
    write_tones(tmp_path / "corpus", (0.5,))
    embed(tmp_path / "corpus", tmp_path / "table")
    for options in (("--hop-s", 2), ("--arch", "passt_20sec")):
        done = passtream("plan", tmp_path / "corpus", tmp_path / "table", *options)
        assert done.returncode == 2
        assert "was made with other settings (table, this plan): " in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_same_audio_in_tar_and_parquet(mixed, tmp_path):
    files = {path.name: path for path in sorted(mixed.rglob("*")) if path.is_file()}
    contents = {name: path.read_bytes() for name, path in sorted(files.items())}
    write_tar(tmp_path / "a.tar", contents)
    write_tar(tmp_path / "b.tar.gz", contents)
    write_parquet(tmp_path / "c.parquet", contents)
    expected = plan(mixed, *ARCH)
    for name in ("a.tar", "b.tar.gz", "c.parquet"):
        planned = plan(tmp_path / name, *ARCH)
        keys = ("clips", "audio_s", "windows", "sample_rates_hz", "durations_s", "errors", "routes")
        assert {key: planned[key] for key in keys} == {key: expected[key] for key in keys}
        # Of Parquet the column of audio alone is read.
        assert planned["bytes"] == pytest.approx((tmp_path / name).stat().st_size, rel=0.01)


def test_a_manifest_with_spans(tmp_path):
    write_tones(tmp_path / "corpus", (31.0, 2.0))
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "uri,start_s,end_s,speaker\n"
        "corpus/000.wav,0,12.5,Ann\n"
        "corpus/000.wav,12.5,99,Bob\n"
        "corpus/000.wav,40,50,Bob\n"
        "corpus/001.wav,,,Eve\n"
        "corpus/gone.wav,,,Dan\n"
    )
    planned = plan(manifest, *ARCH)
    embed(manifest, tmp_path / "table")
    rows = pq.read_table(tmp_path / "table" / "clips", columns=["duration_s", "n_windows"])
    assert planned["audio_s"] == pytest.approx(33.0) == sum(rows["duration_s"].to_pylist())
    assert planned["windows"] == sum(rows["n_windows"].to_pylist())
    assert planned["errors"] == {"empty_span": 1, "missing": 1}


def test_what_only_decoding_shows_is_estimated_or_not_seen(tmp_path):
    """The limits that the README names: no count in an MP3, and a FLAC file that was cut off."""
    folder = tmp_path / "corpus"
    (source,) = write_tones(folder, (20.0,))
    options = ("-c:a", "libmp3lame", "-b:a", "64k", "-write_xing", "0", "-id3v2_version", "0")
    encode(source, folder / "plain.mp3", *options)
    encode(source, folder / "a.webm", "-c:a", "libopus")
    whole = encode(source, tmp_path / "whole.flac", "-c:a", "flac").read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])
    planned = plan(folder, *ARCH)
    assert planned["estimated"]["by_ending"] == {".mp3": 1, ".webm": 1}
    assert planned["errors"] == {}
    assert planned["audio_s"] == pytest.approx(80.0, abs=0.2)
    assert "tell no exact length (.mp3 1, .webm 1)" in passtream("plan", folder, *ARCH).stdout


def test_a_sample_is_scaled_up_and_says_how_sure_it_is(tmp_path):
    durations_s = [0.5 + 0.05 * i for i in range(60)]
    write_tones(tmp_path / "corpus", durations_s)
    planned = plan(tmp_path / "corpus", *ARCH, "--sample", 30)
    assert planned["sample"]["clips"] == 30
    assert (planned["clips"], planned["windows"]) == (60, 60)
    sigma = planned["sample"]["audio_relative_standard_error"]
    # Of 60 numbers with a spread of 0.44 of their mean, half: 0.44 / sqrt(30) * sqrt(1 / 2).
    assert 0.03 < sigma < 0.1
    assert planned["audio_s"] == pytest.approx(sum(durations_s), rel=4 * sigma)
    again = plan(tmp_path / "corpus", *ARCH, "--sample", 30)
    assert again == planned
    assert plan(tmp_path / "corpus", *ARCH, "--sample", 60)["sample"] is None


def test_hours_and_money(tmp_path):
    write_tones(tmp_path / "corpus", [10.0] * 3)
    figures = tmp_path / "figures.json"
    arch = "passt_s_swa_p16_128_ap476"
    one = {"arch": arch, "precision": "fp32", "windows_per_s": 0.01}
    figures.write_text(json.dumps({"slow": [one]}))
    options = ("--figures", figures, "--gpu", "slow", "--gpu", CPU, "--price", "slow=7.2")
    slow, cpu = plan(tmp_path / "corpus", *options)["devices"]
    # Three windows of 10 s at a hundredth of one a second are 300 s, which is a twelfth of 7.2.
    assert slow["hours"] == pytest.approx(300 / 3600)
    assert slow["money"] == pytest.approx(0.6)
    assert not slow["work"][0]["is_converted"]
    assert cpu["hours"] == pytest.approx(3 / 0.763 / 3600)
    assert cpu["money"] is None
    text = passtream("plan", tmp_path / "corpus", *options).stdout
    assert "slow       0.083 h of one, for the model alone, 0.60 at 7.2 an hour" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--gpu", "A9"), f"gpu 'A9': there is no figure of it (there is {CPU}); on such a device"),
        (("--gpu", CPU, "--precision", "fp16"), "there is no figure of it in fp16"),
        (("--price", "H100=2"), "price of H100: not among the devices of --gpu (none)"),
        (("--gpu", CPU, "--price", "2.50"), "price must be NAME=PRICE of an hour"),
        (("--figures", "/nowhere.json"), "figures '/nowhere.json' cannot be read"),
        (("--table", "/usr"), "is no passtream table"),
        (("--window-s", "99"), "window_s must be at most"),
        (("/nowhere",), "'/nowhere': no such file or folder"),
    ],
)
def test_refused_in_one_line(tmp_path, options, message):
    (path,) = write_tones(tmp_path, (0.5,))
    done = (
        passtream("plan", *options[:1], path, *options[1:])
        if options[0] == "/nowhere"
        else (passtream("plan", path, *options))
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_source():
    done = passtream("plan")
    assert (done.returncode, done.stdout) == (2, "")
    assert "name at least one SOURCE" in done.stderr


def test_from_a_store_and_beside_a_table_in_it(moto, tmp_path):
    bucket = moto.new_bucket()
    files = moto.storage().filesystem(bucket)
    write_tones(tmp_path, (60.0, 0.5))
    write_tar(tmp_path / "a.tar", {"0.wav": wav(320_000), "1.wav": wav(32_000)})
    for name in ("000.wav", "001.wav"):
        files.put_file(str(tmp_path / name), f"{bucket}/corpus/{name}")
    files.put_file(str(tmp_path / "a.tar"), f"{bucket}/a.tar")
    given = {"key": KEY, "secret": SECRET, "endpoint_url": moto.url}
    flags = [x for pair in given.items() for x in ("--storage-options", "=".join(pair))]
    planned = plan(f"{bucket}/corpus", f"{bucket}/a.tar", *ARCH, *flags)
    table = f"{bucket}/table"
    assert planned["audio_s"] == pytest.approx(60.5 + 11.0)
    assert planned["bytes"] > 9_000_000
    assert planned["requests"]["source"]["GET"] >= 3
    assert planned["requests"]["table"] == {}
    source = f"{bucket}/corpus/001.wav"
    planned = plan(source, "--table", table, *ARCH, *flags)
    assert planned["changes"] is None
    assert planned["requests"]["table"]["PUT"] > 0
    embed(source, table, *flags)
    planned = plan(f"{bucket}/corpus", table, *flags)
    counts = {name: each["clips"] for name, each in planned["changes"].items()}
    assert counts == {"new": 1, "changed": 0, "gone": 0, "done": 1}


def test_a_folder_that_holds_something_is_a_source(tmp_path):
    write_tones(tmp_path / "corpus", (0.5,))
    shutil.copytree(tmp_path / "corpus", tmp_path / "same")
    report = plan(tmp_path / "corpus", tmp_path / "same", *ARCH)
    # Two sources: a folder that holds something and is no table.
    assert report["clips"] == 2
    assert report["devices"] == []
    assert report["table"] is None
