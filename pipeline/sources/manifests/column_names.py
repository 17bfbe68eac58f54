"""Finds the manifest columns that name recordings and those that cut parts out of them.

NeMo, Common Voice, DCASE, BirdNET, Raven and plain lists of spans use different column names. A
manifest with ambiguous names, or with a unit other than seconds, is refused: a recording must not
be embedded whole if its row names a part of it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import UsageError
from pipeline.wording import brief_list

_NEMO = "audiofilepath"
"""Normalized name of the column in which NeMo names recordings."""
_URI_NAMES = (
    {"uri"},
    {_NEMO, "audiofilename"}
    | {f"{kind}{what}" for kind in ("audio", "wav", "sound", "recording") for what in
       ("path", "file", "filepath", "uri", "url")}
    | {"audio", "wav"},
    {"path", "filepath", "file", "filename", "fname", "fullpath", "relativepath", "relpath"}
    | {f"{kind}{what}" for kind in ("clip", "media", "track") for what in
       ("path", "file", "filename", "filepath", "uri", "url")}
    | {"url", "wavfilename", "soundfilename", "recordingfilename"},
    {"src", "source", "location", "recording", "sound", "clip", "media", "href", "link"},
)  # fmt: skip
"""Normalized names of the column that names recordings; an earlier set has precedence."""

_Role = Literal["start", "end", "offset", "duration"]
"""Meaning of a column of times."""
_ROLES: dict[str, _Role] = {
    **dict.fromkeys(("start", "begin", "beginning", "onset", "tmin"), "start"),
    **dict.fromkeys(("end", "stop", "finish", "tmax"), "end"),
    "offset": "offset",
    **dict.fromkeys(("duration", "dur", "length", "len"), "duration"),
}
"""Role of a column whose name has a word, by the word."""
_QUALIFIERS = {
    *("time", "times", "timestamp", "ts", "pos", "position", "point", "at", "in", "of", "the"),
    *("audio", "segment", "seg", "clip", "span", "utterance", "utt", "region", "chunk", "slice"),
    *("cut", "part", "interval", "recording", "file", "offset", "t"),
}
"""Words that do not change the meaning of `start` or `end`."""
_SECONDS = {"s", "sec", "secs", "second", "seconds"}
_UNITS = {
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "usec", "micros", "microseconds"), "microseconds"),
    **dict.fromkeys(("ns", "nanos", "nanoseconds"), "nanoseconds"),
    **dict.fromkeys(("sample", "samples", "samp"), "samples"),
    **dict.fromkeys(("frame", "frames"), "frames"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "minutes"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "hours"),
}
"""Units other than seconds, by the words that name them."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_RUN_TOGETHER = re.compile(
    r"(start|begin|onset|end|stop|offset|duration|dur|length)(time|times|pos|position|point)?"
    rf"({'|'.join(sorted(_SECONDS | _UNITS.keys(), key=len, reverse=True))})?"
)
"""Words that are written without separators, as `starttimems`."""


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """The columns of one manifest that name recordings and parts of them.

    Attributes:
        uri: Name of the column that holds paths or URIs.
        start: Name of the column with the start of a part, in seconds; empty for none.
        end: Name of the column with the end of a part, in seconds; empty for none.
        duration: Name of the column with the duration of a part, in seconds; empty for none.
        notes: Sentences about columns that seem to cut recordings but are not used.
    """

    uri: str
    start: str = ""
    end: str = ""
    duration: str = ""
    notes: tuple[str, ...] = ()

    @property
    def used(self) -> frozenset[str]:
        """Names of the columns that the manifest has of these."""
        return frozenset((self.uri, self.start, self.end, self.duration)) - {""}


@dataclass(frozen=True, slots=True)
class _TimeColumn:
    """A column whose name refers to a time.

    Attributes:
        name: Name of the column.
        role: Meaning of the time.
        unit: Name of a unit other than seconds; empty for seconds, or if the name has no unit.
        rest: Unknown words of the name, separated by spaces.
    """

    name: str
    role: _Role
    unit: str
    rest: str


def name_columns(columns: Sequence[str], uri_column: str | None = None) -> ColumnNames:
    """Return the columns that name the recordings and cut them.

    Args:
        columns: Names of all columns of a manifest.
        uri_column: Name of the column that holds paths or URIs; None to find it.

    Raises:
        UsageError: No column names recordings, several columns may have the same meaning, or a
            column is in a unit other than seconds.
    """
    uri = _find_uri_column(columns, uri_column)
    times = [found for name in columns if name != uri and (found := _parse_time_column(name))]
    known = [each for each in times if not each.rest]
    start, end = _find_start_and_end(columns, known)
    duration = ""
    if not end:
        duration = _find_duration(known, start)
    notes = list(_pair_notes(times))
    if duration and not start and _normalize(uri) != _NEMO:
        notes.append(
            f"the column {duration!r} is carried but does not cut the recordings, which are "
            "embedded whole; to embed parts of them, add a column start_s or offset"
        )
        duration = ""
    return ColumnNames(uri, start, end, duration, tuple(notes))


def has_uri_column(columns: Iterable[str]) -> bool:
    """Return whether any column name is known as that of the column that names recordings."""
    names = {_normalize(column) for column in columns}
    return any(names & known for known in _URI_NAMES)


def _find_uri_column(columns: Sequence[str], given: str | None) -> str:
    if given is not None:
        if given not in columns:
            raise UsageError(
                f"has no column {given!r} (--audio-column), it has {brief_list(columns)}"
            )
        return given
    for known in _URI_NAMES:
        found = [column for column in columns if _normalize(column) in known]
        found = [column for column in found if column == "uri"] or found
        if len(found) > 1:
            raise UsageError(
                f"has columns {_join_names(found)}, each of which may name the recordings; choose "
                "one with --audio-column, or rename it to uri"
            )
        if found:
            return found[0]
    raise UsageError(
        f"has no column 'uri', it has {brief_list(columns)}; rename the one that holds "
        "paths or URIs, or name it with --audio-column"
    )


def _find_start_and_end(columns: Sequence[str], times: Sequence[_TimeColumn]) -> tuple[str, str]:
    starts, ends = _names_in_seconds(times, "start"), _names_in_seconds(times, "end")
    offsets = _names_in_seconds(times, "offset")
    if "onset" in map(str.lower, starts) and len(offsets) == 1 and not ends:
        ends, offsets = offsets, []  # DCASE: an event lasts from its onset to its offset
    start = "start_s" if "start_s" in columns else _single_name(starts + offsets, "start")
    end = "end_s" if "end_s" in columns else _single_name(ends, "end")
    if not start:
        _refuse_units(times, ("start", "offset"), "start_s")
    if not end and (start or not _names_in_seconds(times, "duration")):
        _refuse_units(times, ("end",), "end_s")
    return start, end


def _find_duration(times: Sequence[_TimeColumn], start: str) -> str:
    names = _names_in_seconds(times, "duration")
    # A column `length` or `n_samples` without a start need not be about a part of a recording.
    explicit = [name for name in names if "dur" in name.lower()]
    duration = _single_name(explicit or names, "duration") if start or explicit else ""
    if start and not duration:
        _refuse_units(times, ("duration",), "duration")
    return duration


def _names_in_seconds(times: Iterable[_TimeColumn], role: _Role) -> list[str]:
    return [each.name for each in times if each.role == role and not each.unit]


def _single_name(names: Sequence[str], role: str) -> str:
    if len(names) > 1:
        right = "duration, and rename the others too" if role == "duration" else f"{role}_s"
        raise UsageError(
            f"has columns {_join_names(names)}, each of which may be the {role} of a part of a "
            f"recording, in seconds; rename the right one to {right}"
        )
    return names[0] if names else ""


def _refuse_units(times: Iterable[_TimeColumn], roles: Sequence[_Role], right: str) -> None:
    for each in times:
        if each.role in roles and each.unit:
            raise UsageError(
                f"the column {each.name!r} is in {each.unit}, but parts of recordings are named in "
                f"seconds; convert it to {right}, or rename it if it means something else"
            )


def _pair_notes(times: Sequence[_TimeColumn]) -> Iterable[str]:
    for first in times:
        if first.rest and first.role in ("start", "offset"):
            others = [
                each.name
                for each in times
                if each.rest == first.rest and each.role in ("end", "duration")
            ]
            if others:
                yield (
                    f"the columns {_join_names([first.name, *others])} are carried but do not cut "
                    "the recordings; if each row is a part of its recording, rename them to "
                    "start_s and end_s, in seconds"
                )


def _parse_time_column(name: str) -> _TimeColumn | None:
    words = [part for word in _WORD.findall(name) for part in _split_word(word.lower())]
    role = next((_ROLES[word] for word in words if word in _ROLES and word != "offset"), None)
    if role is None and "offset" in words:
        role = "offset"
    if role is None and len(words) == 2 and words[0] in ("n", "num") and words[1] in _UNITS:
        role = "duration"
    if role is None:
        return None
    unit = next((_UNITS[word] for word in words if word in _UNITS), "")
    known = _ROLES.keys() | _QUALIFIERS | _SECONDS | _UNITS.keys() | {"n", "num"}
    return _TimeColumn(name, role, unit, " ".join(word for word in words if word not in known))


def _split_word(word: str) -> list[str]:
    """Split words that are written as one: `starttimems` into `start`, `time` and `ms`."""
    joined = None if word in _ROLES else _RUN_TOGETHER.fullmatch(word)
    return [part for part in joined.groups() if part] if joined else [word]


def _normalize(name: str) -> str:
    """Return a column name in lower case, with letters and digits only."""
    return re.sub(r"[\W_]", "", name).lower()


def _join_names(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(map(repr, names[:-1])), repr(names[-1]))))
