"""Which columns of a manifest name the recordings, and which cut parts out of them.

NeMo, Common Voice, DCASE, BirdNET, Raven and plain lists of spans each have names of their own.
A name that could mean two things, or a unit other than seconds, is refused: a recording must not
be embedded whole where its row names a part of it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import UsageError
from pipeline.wording import brief_list

_NEMO = "audiofilepath"
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
"""Names of the column of recordings, in lower case without separators; the first set wins."""

_Role = Literal["start", "end", "offset", "duration"]
_ROLES: dict[str, _Role] = {
    **dict.fromkeys(("start", "begin", "beginning", "onset", "tmin"), "start"),
    **dict.fromkeys(("end", "stop", "finish", "tmax"), "end"),
    "offset": "offset",
    **dict.fromkeys(("duration", "dur", "length", "len"), "duration"),
}
_QUALIFIERS = {
    *("time", "times", "timestamp", "ts", "pos", "position", "point", "at", "in", "of", "the"),
    *("audio", "segment", "seg", "clip", "span", "utterance", "utt", "region", "chunk", "slice"),
    *("cut", "part", "interval", "recording", "file", "offset", "t"),
}
"""Words that do not change what `start` or `end` means."""
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
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_JOINED = re.compile(
    r"(start|begin|onset|end|stop|offset|duration|dur|length)(time|times|pos|position|point)?"
    rf"({'|'.join(sorted(_SECONDS | _UNITS.keys(), key=len, reverse=True))})?"
)


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """The columns of one manifest that name recordings and parts of them.

    Attributes:
        uri: Name of the column that holds paths or URIs.
        start: Name of the column with the start of a part, in seconds; empty for none.
        end: Name of the column with the end of a part, in seconds; empty for none.
        duration: Name of the column with the duration of a part, in seconds; empty for none.
        notes: Sentences about columns that look like a part of a recording and are not used.
    """

    uri: str
    start: str = ""
    end: str = ""
    duration: str = ""
    notes: tuple[str, ...] = ()

    @property
    def used(self) -> frozenset[str]:
        """The names of all these columns."""
        return frozenset((self.uri, self.start, self.end, self.duration)) - {""}


@dataclass(frozen=True, slots=True)
class _Timed:
    """A column whose name speaks of a time.

    Attributes:
        name: Name of the column.
        role: What the time is.
        unit: Name of a unit that is not seconds; empty for seconds, or where none is named.
        rest: Words of the name that are not understood.
    """

    name: str
    role: _Role
    unit: str
    rest: str


def name_columns(columns: Sequence[str], uri_column: str | None = None) -> ColumnNames:
    """Return which columns name the recordings and cut them.

    Args:
        columns: Names of all columns of a manifest.
        uri_column: Name of the column that holds paths or URIs; None to find it.

    Raises:
        UsageError: No column, or more than one, can be meant; or the unit is not seconds.
    """
    uri = _uri_column(columns, uri_column)
    timed = [found for name in columns if name != uri and (found := _timed(name))]
    understood = [each for each in timed if not each.rest]
    start, end = _start_and_end(columns, understood)
    duration = ""
    if not end:
        duration = _duration(understood, start)
    notes = list(_pair_notes(timed))
    if duration and not start and _plain(uri) != _NEMO:
        notes.append(
            f"the column {duration!r} is carried and cuts nothing: the recordings are embedded "
            "whole; parts of them need a column start_s or offset beside it"
        )
        duration = ""
    return ColumnNames(uri, start, end, duration, tuple(notes))


def has_uri_column(columns: Iterable[str]) -> bool:
    """Return whether any column has a name that stands for recordings."""
    names = {_plain(column) for column in columns}
    return any(names & known for known in _URI_NAMES)


def _uri_column(columns: Sequence[str], given: str | None) -> str:
    if given is not None:
        if given not in columns:
            raise UsageError(
                f"has no column {given!r} (--audio-column), it has {brief_list(columns)}"
            )
        return given
    for known in _URI_NAMES:
        found = [column for column in columns if _plain(column) in known]
        found = [column for column in found if column == "uri"] or found
        if len(found) > 1:
            raise UsageError(
                f"has columns {_listed(found)}, each of which may name the recordings; choose one "
                "with --audio-column, or rename it to uri"
            )
        if found:
            return found[0]
    raise UsageError(
        f"has no column 'uri', it has {brief_list(columns)}; rename the one that holds "
        "paths or URIs, or name it with --audio-column"
    )


def _start_and_end(columns: Sequence[str], timed: Sequence[_Timed]) -> tuple[str, str]:
    starts, ends = _of(timed, "start"), _of(timed, "end")
    offsets = _of(timed, "offset")
    if "onset" in map(str.lower, starts) and len(offsets) == 1 and not ends:
        ends, offsets = offsets, []  # DCASE: an event lasts from its onset to its offset
    start = "start_s" if "start_s" in columns else _only(starts + offsets, "start")
    end = "end_s" if "end_s" in columns else _only(ends, "end")
    if not start:
        _refuse_units(timed, ("start", "offset"), "start_s")
    if not end and (start or not _of(timed, "duration")):
        _refuse_units(timed, ("end",), "end_s")
    return start, end


def _duration(timed: Sequence[_Timed], start: str) -> str:
    found = _of(timed, "duration")
    plain = [name for name in found if "dur" in name.lower()]
    duration = _only(plain or found, "duration") if start or plain else ""
    if start and not duration:
        _refuse_units(timed, ("duration",), "duration")
    return duration


def _of(timed: Iterable[_Timed], role: _Role) -> list[str]:
    return [each.name for each in timed if each.role == role and not each.unit]


def _only(names: Sequence[str], what: str) -> str:
    if len(names) > 1:
        right = "duration, and the others otherwise" if what == "duration" else f"{what}_s"
        raise UsageError(
            f"has columns {_listed(names)}, each of which may be the {what} of a part of a "
            f"recording, in seconds; rename the right one to {right}"
        )
    return names[0] if names else ""


def _refuse_units(timed: Iterable[_Timed], roles: Sequence[_Role], right: str) -> None:
    for each in timed:
        if each.role in roles and each.unit:
            raise UsageError(
                f"the column {each.name!r} is in {each.unit}, and parts of recordings are named in "
                f"seconds; give them as {right}, or rename the column where it means something else"
            )


def _pair_notes(timed: Sequence[_Timed]) -> Iterable[str]:
    for first in timed:
        if first.rest and first.role in ("start", "offset"):
            others = [
                each.name
                for each in timed
                if each.rest == first.rest and each.role in ("end", "duration")
            ]
            if others:
                yield (
                    f"the columns {_listed([first.name, *others])} are carried and cut nothing; "
                    "rename them to start_s and end_s, in seconds, where each row is a part of its "
                    "recording"
                )


def _timed(name: str) -> _Timed | None:
    words = [part for word in _WORD.findall(name) for part in _parts(word.lower())]
    role = next((_ROLES[word] for word in words if word in _ROLES and word != "offset"), None)
    if role is None and "offset" in words:
        role = "offset"
    if role is None and len(words) == 2 and words[0] in ("n", "num") and words[1] in _UNITS:
        role = "duration"
    if role is None:
        return None
    unit = next((_UNITS[word] for word in words if word in _UNITS), "")
    known = _ROLES.keys() | _QUALIFIERS | _SECONDS | _UNITS.keys() | {"n", "num"}
    return _Timed(name, role, unit, " ".join(word for word in words if word not in known))


def _parts(word: str) -> list[str]:
    """`starttimems` as `start`, `time`, `ms`."""
    joined = None if word in _ROLES else _JOINED.fullmatch(word)
    return [part for part in joined.groups() if part] if joined else [word]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(map(repr, names[:-1])), repr(names[-1]))))
