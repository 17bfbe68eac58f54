"""Whatever one clip raises is that clip's error, and its neighbours are embedded."""

import errno
import io
import os

import numpy as np
import pytest
import soundfile

from pipeline.clips import ClipRef, path_to_uri
from pipeline.errors import BrokenStreamError, HostError
from pipeline.io.versions import stat_version
from pipeline.readers.shard_reader import clip_recordings
from pipeline.stream.decode_rule import DecodeRule
from pipeline.stream.events import ClipDone, ClipFailed, ShardEnd
from pipeline.stream.packets import shard_packets
from pipeline.stream.windows import WindowRule
from tests.support import tone

RULE = DecodeRule(WindowRule(320_000, 80_000, "hear"), 4_000)
RATE_HZ = 16_000


def clip(path):
    return ClipRef(path_to_uri(str(path)), stat_version(path.stat()))


def events_of(*paths):
    packets = shard_packets(clip_recordings(map(clip, paths)), RULE)
    return [event for packet in packets for event in packet]


def results_of(*paths):
    """The error class of each clip, empty for a sound one."""
    ends = [e for e in events_of(*paths) if isinstance(e, ClipDone | ClipFailed)]
    return [end.error_class if isinstance(end, ClipFailed) else "" for end in ends]


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, tone(1.0, RATE_HZ), RATE_HZ)
    return path


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        ("CAF", "PCM_16"),
        ("W64", "PCM_16"),
        ("AU", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("CAF", "ALAC_16"),
    ],
)
def test_a_flipped_byte_of_a_header_is_never_more_than_the_error_of_its_clip(
    tmp_path, sound, form, subtype
):
    content = io.BytesIO()
    soundfile.write(content, tone(0.2, RATE_HZ), RATE_HZ, format=form, subtype=subtype)
    damaged = []
    for at in range(min(200, len(content.getvalue()))):
        for flip in (0x01, 0x80, 0xFF):
            flipped = bytearray(content.getvalue())
            flipped[at] ^= flip
            damaged.append(tmp_path / f"{at:03}-{flip:02x}.caf")
            damaged[-1].write_bytes(flipped)
    results = results_of(sound, *damaged, sound)
    assert len(results) == len(damaged) + 2
    assert results[0] == results[-1] == ""
    assert "internal" not in results


def raise_in_decoder(monkeypatch, errors):
    """Have decoding the clip named `bad` raise these errors, one in each try."""
    from pipeline.stream import clip_decoder

    plain, left = clip_decoder.down_mix, list(errors)

    def down_mix(frames):
        if frames.shape[1] == 2 and left:
            raise left.pop(0)
        return plain(frames)

    monkeypatch.setattr(clip_decoder, "down_mix", down_mix)


@pytest.fixture
def stereo(tmp_path):
    path = tmp_path / "bad.wav"
    soundfile.write(path, np.stack([tone(1.0, RATE_HZ)] * 2, axis=1), RATE_HZ)
    return path


@pytest.mark.parametrize("error", [KeyError, OSError, ZeroDivisionError])
def test_an_error_that_nobody_foresaw_is_the_clips_at_the_second_try(
    monkeypatch, sound, stereo, error
):
    raise_in_decoder(monkeypatch, [error("a"), error("b")])
    events = events_of(sound, stereo, sound)
    (failed,) = [event for event in events if isinstance(event, ClipFailed)]
    assert failed.error_class == "internal"
    assert error.__name__ in failed.message
    assert "bad.wav" in failed.message
    assert "\n" not in failed.message
    assert sum(isinstance(event, ClipDone) for event in events) == 2
    assert isinstance(events[-1], ShardEnd)


def test_an_error_that_does_not_come_again_is_no_fault_of_the_clip(monkeypatch, sound, stereo):
    raise_in_decoder(monkeypatch, [KeyError("a")])
    with pytest.raises(BrokenStreamError, match=r"bad\.wav: failed once"):
        events_of(sound, stereo)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE, errno.EDQUOT])
def test_a_fault_of_this_machine_in_a_decoder_is_never_the_clips(monkeypatch, sound, number):
    from pipeline.decode import open_audio

    def full(file):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(open_audio, "open_libsndfile", full)
    with pytest.raises(HostError):
        events_of(sound)
