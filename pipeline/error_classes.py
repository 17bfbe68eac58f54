"""The classes of clip errors, and what each of them means.

Every row of `errors` has one of these classes. The `errors` command and the README explain a class
with the sentence that stands here, so a class that is raised anywhere must be listed.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from pipeline.errors import UsageError
from pipeline.wording import unknown_name

ERROR_CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "bad_url": "The list names a URL that cannot be asked for, as one with a broken address.",
        "changed": "The file was replaced or written to after its listing, before it was read.",
        "damaged_container": "A tar or Parquet file cannot be read any further; what came "
        "before is embedded.",
        "empty": "The file has no bytes, or its audio has no samples.",
        "empty_span": "The part that the manifest names starts after the end of the recording.",
        "forbidden": "There is no permission to read the file.",
        "host_unreachable": "The host that a list names has no address, or does not answer.",
        "implausible_length": "The file has far fewer bytes than so much audio takes.",
        "internal": "passtream itself failed on this clip, twice; please report the message.",
        "missing": "The file is not there.",
        "no_audio": "The file holds no audio stream, only video or data.",
        "no_bytes": "The row of the Parquet file holds no audio bytes.",
        "non_finite": "The samples hold NaN or infinite values.",
        "non_finite_output": "The model's output for this clip holds NaN or infinite values.",
        "not_a_file": "The path is a folder, a device or a pipe.",
        "not_allowed": "The list names a host or a local file that --allow-hosts or --no-local "
        "refuses, or an address that no list may name.",
        "poison": "Decoding this clip killed its process, or took all of its memory, twice.",
        "redirect_loop": "The URL redirects in a circle, or too often.",
        "sample_rate_too_low": "The sample rate is below 100 Hz.",
        "server_error": "The server answers with an error instead of the file.",
        "short_response": "The server sends fewer or more bytes than it says, each time.",
        "span_past_end": "The part that the manifest names goes on after the end of the recording, "
        "by more than --short-tolerance.",
        "tls_error": "The host has no certificate that this machine trusts.",
        "too_large": "The file has more bytes than --max-clip-bytes allows.",
        "too_long": "The audio is longer than --max-clip-s allows.",
        "too_much_memory": "Decoding the file takes more memory than --decoder-memory allows.",
        "too_short": "The audio is shorter than the model takes; --pad-short pads such clips.",
        "too_sparse": "A tar's sparse member of over 1 GiB, of which the tar stores under a "
        "thousandth.",
        "too_slow": "The bytes of the file come too slowly, at fewer than 4,096 a second.",
        "truncated": "The file holds less audio than it declares, by more than --short-tolerance.",
        "undecodable": "No decoder makes audio of the file.",
        "unread_audio": "The file holds more audio than can be read as one recording: files were "
        "joined, or it has two audio chunks.",
        "unreadable": "Reading the file failed.",
    }
)
"""Meaning of each class, one plain sentence."""


def check_error_classes(names: Iterable[str], also: Iterable[str] = ()) -> None:
    """Refuse a name that is no class of errors.

    Args:
        names: Classes as a person named them.
        also: Further classes that are known, such as those that a table holds.

    Raises:
        UsageError: A class is unknown; the message names the nearest one, and all of them.
    """
    known = sorted({*ERROR_CLASSES, *also})
    for name in names:
        if name not in known:
            raise UsageError(unknown_name("class", name, known, "classes"))
