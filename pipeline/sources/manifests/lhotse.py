"""Converts the cuts and recordings of Lhotse's JSON manifests to manifest rows.

A cut becomes a row with `uri`, `start_s` and `end_s`, its id and the texts of its supervisions. A
cut or recording that is not a part of a single file is refused. This includes several tracks or
files, some channels of a recording, transforms, and commands, which would run code from the
manifest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import UsageError

Fields = Mapping[str, Any]
"""Fields of one JSON object."""

_SUPERVISION_FIELDS = ("text", "speaker", "language", "gender")
"""Fields of a supervision that become columns."""


def convert_row(fields: Fields) -> Fields:
    """Convert a cut or recording of Lhotse to a manifest row; return other rows unchanged.

    Args:
        fields: One object of a JSON manifest.

    Raises:
        UsageError: The object is from Lhotse and cannot be embedded; the message has a way out.
    """
    if isinstance(fields.get("recording"), dict) and "start" in fields:
        return _cut_row(fields)
    if isinstance(fields.get("sources"), list) and "sampling_rate" in fields:
        return _recording_row(fields)
    if isinstance(fields.get("tracks"), list):
        raise UsageError(
            "is a mixed cut of Lhotse with several tracks; save its audio (CutSet.save_audios), or "
            "leave it out"
        )
    if fields.get("type") in ("MonoCut", "MultiCut", "PaddingCut"):
        raise UsageError("is a cut of Lhotse without a recording; leave it out")
    if "recording_id" in fields and "start" in fields and "duration" in fields:
        raise UsageError(
            "is a supervision of Lhotse, which names a recording by its id alone; create cuts: "
            "lhotse cut simple -r RECORDINGS -s SUPERVISIONS CUTS.jsonl"
        )
    return fields


def _recording_row(recording: Fields) -> dict[str, Any]:
    return {"uri": _uri(recording), "id": recording.get("id")}


def _cut_row(cut: Fields) -> dict[str, Any]:
    recording = cut["recording"]
    start, duration = cut["start"], cut.get("duration")
    _check_channels(cut.get("channel"), recording)
    row: dict[str, Any] = {"uri": _uri(recording)}
    whole = recording.get("duration")
    if start != 0 or duration != whole:
        row |= {"start_s": start, "end_s": _end_s(start, duration)}
    row |= {"id": cut.get("id"), "recording_id": recording.get("id")}
    supervisions = [each for each in cut.get("supervisions") or () if isinstance(each, dict)]
    for name in _SUPERVISION_FIELDS:
        values = [each[name] for each in supervisions if each.get(name) is not None]
        if values:
            row[name] = values[0] if len(supervisions) == 1 else values
    custom = cut.get("custom")
    return row | ({"custom": custom} if custom else {})


def _end_s(start: object, duration: object) -> object:
    numbers = (start, duration)
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers):
        raise UsageError(f"start and duration must be seconds (got {start!r}, {duration!r})")
    assert isinstance(start, int | float)
    assert isinstance(duration, int | float)
    return round(start + duration, 9)


def _uri(recording: Fields) -> object:
    sources = recording.get("sources")
    if not isinstance(sources, list) or len(sources) != 1 or not isinstance(sources[0], dict):
        raise UsageError(
            "is a recording of Lhotse that does not lie in one file; join its files, or leave it "
            "out"
        )
    kind = sources[0].get("type", "file")
    if kind not in ("file", "url"):
        raise UsageError(
            f"has a source of type {kind!r}; only Lhotse's types file and url are supported: save "
            "its audio to a file"
        )
    if recording.get("transforms"):
        raise UsageError(
            "is a recording of Lhotse with transforms, which are not applied; save its audio to a "
            "file, or leave it out"
        )
    return sources[0].get("source")


def _check_channels(channel: object, recording: Fields) -> None:
    """Raise UsageError if a cut has only some channels of its recording.

    All channels of a recording are mixed, so the cut would be embedded with the others as well.

    Args:
        channel: Number of the cut's channel, or a list of numbers; None for all channels.
        recording: The cut's recording.

    Raises:
        UsageError: The recording has more channels than the cut.
    """
    channels = recording.get("channel_ids")
    if not isinstance(channels, Sequence):
        sources = recording.get("sources") or [{}]
        channels = sources[0].get("channels") if isinstance(sources[0], dict) else None
    if not isinstance(channels, list) or channel is None:
        return
    selected = channel if isinstance(channel, list) else [channel]
    if len(channels) > 1 and len(selected) < len(channels):
        raise UsageError(
            f"is a cut of channel {', '.join(map(str, selected))} of {len(channels)}, and the "
            "channels of a recording are mixed; save its audio to a file (CutSet.save_audios)"
        )
