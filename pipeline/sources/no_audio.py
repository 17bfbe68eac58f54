"""Refuses sources whose name ends like a file without recordings, with advice for each ending."""

import os

from pipeline.errors import UsageError

_UNPACK = "is an archive; unpack it and name the folder, or make a tar of it"
_AS_TABLE = (
    "is a table in a format that is not supported; save it as .csv, .tsv, .jsonl or .parquet "
    "with a column uri"
)
_ANNOTATIONS = (
    "holds annotations of recordings; write a manifest with the columns uri, start_s and end_s, "
    "as .csv or .jsonl"
)
_ADVICE = {
    **dict.fromkeys((".zip", ".7z", ".rar", ".cab", ".ar", ".cpio", ".iso", ".zipx"), _UNPACK),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst", ".lz4", ".lzma", ".z", ".br"),
                    "is a compressed file, not a tar; unpack it"),
    **dict.fromkeys((".xls", ".xlsx", ".ods", ".sqlite", ".db", ".xml", ".yaml", ".yml", ".toml"),
                    _AS_TABLE),
    **dict.fromkeys((".h5", ".hdf5", ".npy", ".npz", ".pkl", ".pickle", ".pt", ".mat",
                     ".tfrecord", ".lmdb"),
                    "holds arrays; save them as WAV or FLAC, or as Parquet with encoded audio"),
    ".scp": "is a list of Kaldi, which may hold commands; pipe in its paths, for example with "
            "cut -d' ' -f2- wav.scp | passtream embed - TABLE",
    **dict.fromkeys((".ark",), "holds Kaldi arrays; save them as WAV or FLAC"),
    **dict.fromkeys((".rttm", ".ctm", ".stm", ".textgrid", ".eaf", ".srt", ".vtt", ".lab", ".cue"),
                    _ANNOTATIONS),
    **dict.fromkeys((".pls", ".xspf", ".asx", ".wpl"),
                    "is a playlist; save it as .m3u, or as .txt with one path per line"),
}  # fmt: skip
"""Reason and advice for a source that holds no recordings, by its ending."""


def refuse_no_audio(source: str, name: str) -> None:
    """Raise UsageError if a source is named like a file that holds no recordings.

    Args:
        source: The source as the user named it, for the message.
        name: Path of the source, without the query of a URL.

    Raises:
        UsageError: The ending belongs to a file without recordings.
    """
    advice = _ADVICE.get(os.path.splitext(name.rstrip("/"))[1].lower())
    # A compressed tar has two endings, as .tar.gz; a .gz of anything else is refused.
    if advice and not os.path.splitext(name)[0].lower().endswith(".tar"):
        raise UsageError(
            f"source {source!r}: {advice}. If it is a recording, add --source-format files"
        )
