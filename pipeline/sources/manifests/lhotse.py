"""Rows of Lhotse's manifests (cuts and recordings) as rows of ours.

A cut becomes `uri`, `start_s` and `end_s`, with its id and what its supervisions say. What is not a
piece of one file is refused by name: several tracks or files, one channel of several, transforms,
and commands, which would run code of the manifest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import UsageError

Fields = Mapping[str, Any]

_SAID = ("text", "speaker", "language", "gender")
"""What a supervision says of its part."""


def as_row(fields: Fields) -> Fields:
    """Return the row that a cut or a recording of Lhotse stands for; other rows as they are.

    Args:
        fields: One object of a JSON manifest.

    Raises:
        UsageError: It is of Lhotse and cannot be taken; the message says why and what to do.
    """
    if isinstance(fields.get("recording"), dict) and "start" in fields:
        return _cut(fields)
    if isinstance(fields.get("sources"), list) and "sampling_rate" in fields:
        return _recording(fields)
    if isinstance(fields.get("tracks"), list):
        raise UsageError(
            "is a mixed cut of Lhotse, of several tracks; save its audio (CutSet.save_audios), or "
            "leave it out"
        )
    if fields.get("type") in ("MonoCut", "MultiCut", "PaddingCut"):
        raise UsageError("is a cut of Lhotse without a recording; leave it out")
    if "recording_id" in fields and "start" in fields and "duration" in fields:
        raise UsageError(
            "is a supervision of Lhotse, which names a recording by its id alone; make cuts: "
            "lhotse cut simple -r RECORDINGS -s SUPERVISIONS CUTS.jsonl"
        )
    return fields


def _recording(recording: Fields) -> dict[str, Any]:
    return {"uri": _uri(recording), "id": recording.get("id")}


def _cut(cut: Fields) -> dict[str, Any]:
    recording = cut["recording"]
    start, duration = cut["start"], cut.get("duration")
    _check_channels(cut.get("channel"), recording)
    row: dict[str, Any] = {"uri": _uri(recording)}
    whole = recording.get("duration")
    if start != 0 or duration != whole:
        row |= {"start_s": start, "end_s": _end(start, duration)}
    row |= {"id": cut.get("id"), "recording_id": recording.get("id")}
    supervisions = [each for each in cut.get("supervisions") or () if isinstance(each, dict)]
    for name in _SAID:
        said = [each[name] for each in supervisions if each.get(name) is not None]
        if said:
            row[name] = said[0] if len(supervisions) == 1 else said
    custom = cut.get("custom")
    return row | ({"custom": custom} if custom else {})


def _end(start: object, duration: object) -> object:
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
            f"has a source of type {kind!r}; of Lhotse's, file and url are taken: save its audio "
            "to a file"
        )
    if recording.get("transforms"):
        raise UsageError(
            "is a recording of Lhotse with transforms, which are not applied; save its audio to a "
            "file, or leave it out"
        )
    return sources[0].get("source")


def _check_channels(channel: object, recording: Fields) -> None:
    """Refuse a cut of some channels of a recording that has more: all of them are mixed.

    Raises:
        UsageError: It is one.
    """
    there = recording.get("channel_ids")
    if not isinstance(there, Sequence):
        sources = recording.get("sources") or [{}]
        there = sources[0].get("channels") if isinstance(sources[0], dict) else None
    if not isinstance(there, list) or channel is None:
        return
    meant = channel if isinstance(channel, list) else [channel]
    if len(there) > 1 and len(meant) < len(there):
        raise UsageError(
            f"is a cut of channel {', '.join(map(str, meant))} of {len(there)}, and the channels "
            "of a recording are mixed; save its audio to a file (CutSet.save_audios)"
        )
