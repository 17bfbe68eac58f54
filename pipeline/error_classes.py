"""The classes of clip errors, and what each of them means.

Every row of `errors` has one of these classes. The `errors` command and the README explain a class
with the sentence that stands here, so a class that is raised anywhere must be listed.
"""

from collections.abc import Mapping
from types import MappingProxyType

ERROR_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "changed": "The file was replaced or written to after its listing, before it was read.",
        "damaged_container": "A tar or Parquet file cannot be read any further; what came "
        "before is embedded.",
        "empty": "The file has no bytes, or its audio has no samples.",
        "empty_span": "The part that the manifest names starts after the end of the recording.",
        "forbidden": "There is no permission to read the file.",
        "internal": "passtream itself failed on this clip, twice; please report the message.",
        "missing": "The file is not there.",
        "no_audio": "The file holds no audio stream, only video or data.",
        "no_bytes": "The row of the Parquet file holds no audio bytes.",
        "non_finite": "The samples hold NaN or infinite values.",
        "not_a_file": "The path is a folder, a device or a pipe.",
        "poison": "Decoding this clip killed its process, or took all of its memory, twice.",
        "too_large": "The file has more bytes than --max-clip-bytes allows.",
        "too_long": "The audio is longer than --max-clip-s allows.",
        "too_short": "The audio is shorter than the model takes; --pad-short pads such clips.",
        "truncated": "The file holds less audio than it declares, by more than --short-tolerance.",
        "undecodable": "No decoder makes audio of the file.",
        "unreadable": "Reading the file failed.",
    }
)
"""Meaning of each class, one plain sentence."""
