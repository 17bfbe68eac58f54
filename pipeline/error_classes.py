"""The classes of clip errors, each with a sentence that explains it.

Every row of the `errors` table has one of these classes. The `errors` command and the README print
the sentences of this module, so it must list every class that is raised anywhere.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pipeline.errors import UsageError
from pipeline.wording import unknown_name

ERROR_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "bad_url": "The list names a URL that cannot be requested, for instance as its host is "
        "malformed.",
        "changed": "The file was replaced or written to between its listing and its reading.",
        "damaged_container": "A tar or Parquet file cannot be read any further; the clips "
        "before the damage are embedded.",
        "empty": "The file has no bytes, or its audio has no samples.",
        "empty_span": "The span that the manifest names starts after the end of the recording.",
        "forbidden": "passtream has no permission to read the file.",
        "host_unreachable": "The host that a list names has no address, or does not answer.",
        "implausible_length": "The file has far fewer bytes than the audio it declares takes.",
        "internal": "passtream itself failed on this clip, twice; please report the message.",
        "missing": "The file does not exist.",
        "no_audio": "The file holds no audio stream, only video or data.",
        "no_bytes": "The row of the Parquet file holds no audio bytes.",
        "non_finite": "The samples hold NaN or infinite values.",
        "non_finite_output": "The model's output for this clip holds NaN or infinite values.",
        "not_a_file": "The path is a folder, a device or a pipe, not a file.",
        "not_allowed": "The list names a host or a local file that --allow-hosts or --no-local "
        "refuses, or an address that no list may name.",
        "poison": "Decoding this clip killed its process, or took all of its memory, twice.",
        "redirect_loop": "The URL redirects in a circle, or too many times.",
        "sample_rate_too_low": "The sample rate is below 100 Hz.",
        "server_error": "The server answers with an error instead of the file.",
        "short_response": "Each time, the server sends fewer or more bytes than it declares.",
        "span_past_end": "The span that the manifest names ends after the end of the recording, "
        "by more than --short-tolerance.",
        "tls_error": "The host has no certificate that this machine trusts.",
        "too_large": "The file has more bytes than --max-clip-bytes allows.",
        "too_long": "The audio is longer than --max-clip-s allows.",
        "too_much_memory": "Decoding the file takes more memory than --decoder-memory allows.",
        "too_short": "The audio is shorter than the model accepts; --pad-short pads such clips.",
        "too_sparse": "The clip is a sparse tar member of more than 1 GiB, of which the tar stores "
        "less than a thousandth.",
        "too_slow": "The file arrives too slowly, at fewer than 4,096 bytes per second.",
        "truncated": "The file holds less audio than it declares, by more than --short-tolerance.",
        "undecodable": "No decoder can decode the file.",
        "unread_audio": "The file holds more audio than can be read as one recording: files were "
        "joined, or it has two audio chunks.",
        "unreadable": "Reading the file failed.",
    }
)
"""Explanation of each error class in one sentence."""


def check_error_classes(names: Iterable[str], also: Iterable[str] = ()) -> None:
    """Raise UsageError if a name is not an error class.

    Args:
        names: Error classes that the user named.
        also: Further valid classes, such as the classes in a table.

    Raises:
        UsageError: A class is unknown. The message names the closest class, and all classes.
    """
    known = sorted({*ERROR_CLASSES, *also})
    for name in names:
        if name not in known:
            raise UsageError(unknown_name("class", name, known, "classes"))
