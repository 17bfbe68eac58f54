"""Names of a SOURCE that is neither a recording nor a list of some, and what to do with each."""

import os

from pipeline.errors import UsageError

_UNPACK = "is an archive; unpack it and name the folder, or make a tar of it"
_AS_TABLE = (
    "is a table in a format that is not read; save it as .csv, .tsv, .jsonl or .parquet with a "
    "column uri"
)
_NOTES = (
    "is text about recordings; write a manifest with the columns uri, start_s and end_s, as .csv "
    "or .jsonl"
)
_WAYS_OUT = {
    **dict.fromkeys((".zip", ".7z", ".rar", ".cab", ".ar", ".cpio", ".iso", ".zipx"), _UNPACK),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".z", ".br"),
                    "is a compressed file and no tar; unpack it"),
    **dict.fromkeys((".xls", ".xlsx", ".ods", ".sqlite", ".db", ".xml", ".yaml", ".yml", ".toml"),
                    _AS_TABLE),
    **dict.fromkeys((".h5", ".hdf5", ".npy", ".npz", ".pkl", ".pickle", ".pt", ".mat",
                     ".tfrecord", ".lmdb"),
                    "holds arrays; save them as WAV or FLAC, or as Parquet with encoded audio"),
    ".scp": "is a list of Kaldi, which may hold commands; take its paths, as by "
            "cut -d' ' -f2- wav.scp | passtream embed - TABLE",
    **dict.fromkeys((".ark",), "holds arrays of Kaldi; save them as WAV or FLAC"),
    **dict.fromkeys((".rttm", ".ctm", ".stm", ".textgrid", ".eaf", ".srt", ".vtt", ".lab", ".cue"),
                    _NOTES),
    **dict.fromkeys((".pls", ".xspf", ".asx", ".wpl"),
                    "is a playlist; save it as .m3u, or as .txt with one path per line"),
}  # fmt: skip


def refuse_no_audio(source: str, name: str) -> None:
    """Raise UsageError if a source has the name of something that holds no recordings.

    Args:
        source: The source as a person named it.
        name: Its path, without the query of a URL.
    """
    way_out = _WAYS_OUT.get(os.path.splitext(name.rstrip("/"))[1].lower())
    # What is no tar is left: those of them that are compressed have two endings.
    if way_out and not os.path.splitext(name)[0].lower().endswith(".tar"):
        raise UsageError(
            f"source {source!r}: {way_out}. Where it is a recording, add --source-format files"
        )
