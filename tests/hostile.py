"""Hostile audio files, which refer to other files and hosts or demand days and gigabytes."""

import struct
from pathlib import Path

import numpy as np
import soundfile

SCRIPTS = {
    "ffconcat.m4a": "ffconcat version 1.0\nfile {named}\n",
    "itself.m4a": "ffconcat version 1.0\nfile itself.m4a\n",
    "playlist.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:3,\n{named}\n#EXT-X-ENDLIST\n",
    "remote.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\n{url}\n#EXT-X-ENDLIST\n",
    "dash.mp4": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
    'type="static"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="a">'
    "<BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "session.aac": "v=0\no=- 0 0 IN IP4 0.0.0.0\ns=x\nc=IN IP4 0.0.0.0\nt=0 0\n"
    "m=audio {port} RTP/AVP 0\n",
    "program.sbg": "-SE\nNOW 300+4/50\n+24:00:00 off\n",
    "list.wma": "<asx version='3.0'><entry><ref href='{named}'/></entry></asx>",
    "images.flac": "%03d.png",
}
"""Texts of playlists and scripts that FFmpeg would follow, by file name, with placeholders."""


def write_hostile(folder: Path, named: str, port: int = 9) -> dict[str, str]:
    """Write all hostile files into a folder.

    Args:
        folder: An existing folder.
        named: Path of a file to which some of the hostile files refer.
        port: Port on this machine to which others refer.

    Returns:
        The expected error class of each file, by file name.
    """
    url = f"http://127.0.0.1:{port}/a.ts"
    classes = {}
    for name, text in SCRIPTS.items():
        # passtream would read a .m3u8 as a list of sources, so it gets the name of an audio file.
        name = name.replace(".m3u8", ".mp3").replace(".sbg", ".ogg")
        (folder / name).write_text(text.format(named=named, url=url, port=port))
        classes[name] = "undecodable"
    (folder / "reference.mov").write_bytes(mov_with_reference(named))
    classes["reference.mov"] = "empty"
    (folder / "bomb.m4a").write_bytes(mp4_of_many_samples(120_000_000))
    classes["bomb.m4a"] = "too_much_memory"
    soundfile.write(folder / "hours.flac", np.zeros(12 * 3600, np.int16), 1)
    classes["hours.flac"] = "sample_rate_too_low"
    soundfile.write(folder / "days.flac", np.zeros(100 * 86_000, np.int16), 100)
    classes["days.flac"] = "implausible_length"
    return classes


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind, *parts, flags=0):
    return box(kind, struct.pack(">I", flags), *parts)


def mov_with_reference(path):
    """Return a QuickTime file with a PCM track whose `dref` names another file for the samples."""
    name = path.encode()
    alias = struct.pack(">IHH", 0, 0, 2) + bytes(142)
    alias += struct.pack(">hH", 2, len(name)) + name + bytes(len(name) % 2)
    alias += struct.pack(">hH", -1, 0)
    n = 16_000
    entry = struct.pack(">6xH8xHHHHI", 1, 1, 16, 0, 0, 16_000 << 16)
    matrix = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">u4").tobytes()
    stbl = box(
        b"stbl",
        full_box(b"stsd", struct.pack(">I", 1), box(b"twos", entry)),
        full_box(b"stts", struct.pack(">III", 1, n, 1)),
        full_box(b"stsc", struct.pack(">IIII", 1, 1, n, 1)),
        full_box(b"stsz", struct.pack(">II", 2, n)),
        full_box(b"stco", struct.pack(">II", 1, 44)),
    )
    minf = box(
        b"minf",
        full_box(b"smhd", bytes(4)),
        box(b"dinf", full_box(b"dref", struct.pack(">I", 1), full_box(b"alis", alias))),
        stbl,
    )
    mdia = box(
        b"mdia",
        full_box(b"mdhd", struct.pack(">IIIIHH", 0, 0, 16_000, n, 0, 0)),
        full_box(b"hdlr", b"mhlrsoun" + bytes(12)),
        minf,
    )
    tkhd = full_box(
        b"tkhd",
        struct.pack(">IIIII8xHHHH", 0, 0, 1, 0, 1000, 0, 0, 256, 0),
        matrix,
        bytes(8),
        flags=7,
    )
    mvhd = full_box(
        b"mvhd",
        struct.pack(">IIIIIH10x", 0, 0, 1000, 1000, 1 << 16, 256),
        matrix,
        bytes(24),
        struct.pack(">I", 2),
    )
    return box(b"ftyp", b"qt  " + bytes(4) + b"qt  ") + box(b"moov", mvhd, box(b"trak", tkhd, mdia))


def mp4_of_many_samples(n):
    """Return a fragmented MP4 whose run declares `n` samples, each of which FFmpeg would index."""
    entry = struct.pack(">6xH8xHHHHI", 1, 1, 16, 0, 0, 16_000 << 16)
    stbl = box(
        b"stbl",
        full_box(b"stsd", struct.pack(">I", 1), box(b"sowt", entry)),
        full_box(b"stts", bytes(4)),
        full_box(b"stsc", bytes(4)),
        full_box(b"stsz", bytes(8)),
        full_box(b"stco", bytes(4)),
    )
    mdhd = full_box(b"mdhd", struct.pack(">IIIIHH", 0, 0, 16_000, 0, 0, 0))
    minf = box(b"minf", full_box(b"smhd", bytes(4)), stbl)
    mdia = box(b"mdia", mdhd, full_box(b"hdlr", bytes(4) + b"soun" + bytes(13)), minf)
    tkhd = full_box(b"tkhd", struct.pack(">IIIII", 0, 0, 1, 0, 0), bytes(60))
    trex = full_box(b"trex", struct.pack(">IIIII", 1, 1, 1, 2, 0))
    moov = box(b"moov", box(b"trak", tkhd, mdia), box(b"mvex", trex))
    run = box(b"trun", struct.pack(">III", 1, n, 0))
    traf = box(b"traf", box(b"tfhd", struct.pack(">II", 0x020000, 1)), run)
    moof = box(b"moof", full_box(b"mfhd", struct.pack(">I", 1)), traf)
    ftyp = box(b"ftyp", b"iso5" + bytes(4) + b"iso5")
    return ftyp + moov + moof + box(b"mdat", bytes(16))
