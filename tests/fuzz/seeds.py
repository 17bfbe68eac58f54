"""Small intact files of every kind that passtream reads, which the fuzzer damages."""

import gzip
import io
import json
import tarfile

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from tests.support import tone

RATE_HZ = 16_000
# Format and subtype for libsndfile, by file name.
_SOUNDFILE = {
    "pcm.wav": ("WAV", "PCM_16"),
    "float.wav": ("WAVEX", "FLOAT"),
    "a.rf64": ("RF64", "PCM_16"),
    "a.w64": ("W64", "PCM_16"),
    "a.aiff": ("AIFF", "PCM_24"),
    "a.au": ("AU", "PCM_16"),
    "a.caf": ("CAF", "PCM_16"),
    "alac.caf": ("CAF", "ALAC_16"),
    "a.flac": ("FLAC", "PCM_16"),
    "a.ogg": ("OGG", "VORBIS"),
    "opus.ogg": ("OGG", "OPUS"),
    "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
}
# Codec, container and options for ffmpeg, by file name.
_FFMPEG = {
    "a.m4a": ("aac", "mp4", {}),
    "fragments.m4a": ("aac", "mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "alac.m4a": ("alac", "mp4", {}),
    "a.aac": ("aac", "adts", {}),
    "a.webm": ("libopus", "webm", {}),
    "a.mka": ("flac", "matroska", {}),
    "a.wma": ("wmav2", "asf", {}),
    "plain.mp3": ("libmp3lame", "mp3", {"write_xing": "0", "id3v2_version": "0"}),
    "a.ac3": ("ac3", "ac3", {}),
    "a.wv": ("wavpack", "wv", {}),
    "a.mp2": ("mp2", "mp2", {}),
    "a.mov": ("pcm_s16le", "mov", {}),
}


def make_seeds() -> dict[str, bytes]:
    """Return the content of each seed file by name."""
    seeds = {name: _encode_by_soundfile(*settings) for name, settings in _SOUNDFILE.items()}
    seeds |= {name: _encode_by_ffmpeg(*settings) for name, settings in _FFMPEG.items()}
    seeds["id3.mp3"] = b"ID3\x04\x00\x00\x00\x00\x00\x0aTIT2\0\0\0\0\0\0" + seeds["plain.mp3"]
    seeds["chained.ogg"] = seeds["a.ogg"] + seeds["a.ogg"]
    tar = _make_tar(
        {"a.wav": seeds["pcm.wav"], "a.json": b'{"text": "x"}', "b.flac": seeds["a.flac"]}
    )
    seeds |= {"a.tar": tar, "a.tar.gz": gzip.compress(tar), "a.tar.zst": _compress_zstd(tar)}
    rows = [{"bytes": seeds["pcm.wav"], "path": "a.wav"}, {"bytes": seeds["a.flac"], "path": "b"}]
    seeds["a.parquet"] = _make_parquet(rows)
    seeds["a.csv"] = b"uri,start_s,end_s,text\na.wav,0,0.5,x\nb.flac,0.25,1,y\n"
    lines = [{"audio_filepath": "a.wav", "offset": 0.1, "duration": 0.3}, {"audio_filepath": "b"}]
    seeds["a.jsonl"] = "\n".join(map(json.dumps, lines)).encode()
    seeds["nemo.json"] = seeds["a.jsonl"]
    seeds["a.tsv"] = b"client_id\tpath\tsentence\nx\ta.wav\ty\n"
    seeds["a.txt"] = b"a.wav\nb.flac\nhttp://127.0.0.1:9/c.wav\n"
    cut = {"id": "x", "start": 0.1, "duration": 0.2, "channel": 0}
    cut["recording"] = {"sources": [{"type": "file", "channels": [0], "source": "a.wav"}]}
    seeds["lhotse.jsonl"] = json.dumps(cut).encode()
    seeds["script.m4a"] = b"ffconcat version 1.0\nfile a.wav\n"
    seeds["playlist.mp3"] = b"#EXTM3U\n#EXTINF:3,\n/etc/hostname\n#EXT-X-ENDLIST\n"
    return seeds


def _encode_by_soundfile(container_format: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", RATE_HZ, 1, subtype, format=container_format) as file:
        for block in np.array_split(tone(0.6, RATE_HZ), 4):
            file.write(block)
    return buffer.getvalue()


def _encode_by_ffmpeg(codec: str, container_format: str, options: dict[str, str]) -> bytes:
    rate_hz = 48_000
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container_format, options=options) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        stream.bit_rate = 96_000
        frame = av.AudioFrame.from_ndarray(tone(0.6, rate_hz)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        resampler = av.AudioResampler(
            format=stream.codec_context.format, rate=rate_hz, frame_size=stream.frame_size or 1024
        )
        for each in (*resampler.resample(frame), *resampler.resample(None), None):
            for packet in stream.encode(each):
                container.mux(packet)
    return buffer.getvalue()


def _make_tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _compress_zstd(content: bytes) -> bytes:
    return pa.compress(content, "zstd", asbytes=True)


def _make_parquet(rows: list[dict[str, object]]) -> bytes:
    audio = pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    buffer = io.BytesIO()
    pq.write_table(pa.table({"audio": audio, "text": ["x", "y"]}), buffer)
    return buffer.getvalue()
