"""FLACs that were written to a pipe, cut, joined, or that count wrongly, for `damaged_audio`."""

import io

import av
import numpy as np
import soundfile

from pipeline.decode.headers.flac.frame import STREAM_BYTES, replace_sample_count
from tests.pipeline.decode.damaged_audio import RATE_HZ, by_libsndfile, damaged, sound

N_SAMPLES = 48_000
BLOCK = 4096


def flac(duration_s: float = 3.0, total: int | None = None, seed: int = 0) -> bytes:
    """Return a FLAC whose header counts as many samples as are asked for."""
    content = by_libsndfile(sound(duration_s, seed=seed), format="FLAC")
    if total is None:
        return content
    return replace_sample_count(content[:STREAM_BYTES], total) + content[STREAM_BYTES:]


def frames_of(content: bytes) -> list[bytes]:
    """Return the header of a FLAC, and then each of its frames, found by their numbers."""
    starts, at = [], 42
    for number in range(-(-N_SAMPLES // BLOCK)):
        at = content.index(b"\xff\xf8", at)
        while content[at + 4] != number or content[at + 2] & 0xF not in (5, 0):
            at = content.index(b"\xff\xf8", at + 1)
        starts.append(at)
        at += 1
    return [content[a:b] for a, b in zip([0, *starts], [*starts, len(content)], strict=True)]


@damaged("to-a-pipe.flac", duration_s=3.0)
def flac_without_a_sample_count() -> bytes:
    return flac(total=0)


@damaged("to-a-pipe-by-ffmpeg.flac", duration_s=3.0)
def flac_of_ffmpeg_without_a_sample_count() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound()[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE_HZ, 0
        fifo = av.AudioFifo()
        fifo.write(frame)
        size = stream.codec_context.frame_size or BLOCK
        while block := fifo.read(size, partial=True):
            container.mux(stream.encode(block))
        container.mux(stream.encode(None))
    content = file.getvalue()
    return replace_sample_count(content[:STREAM_BYTES], 0) + content[STREAM_BYTES:]


@damaged("to-a-pipe-and-cut.flac", duration_s=11 * BLOCK / RATE_HZ)
def flac_without_a_sample_count_cut_in_its_last_frame() -> bytes:
    return flac(total=0)[:-100]


@damaged("span-of-a-pipe.flac", duration_s=1.0, span=(1.0, 2.0))
def flac_without_a_sample_count_of_which_a_part_is_a_clip() -> bytes:
    return flac(total=0)


@damaged("counts-double.flac", error="truncated")
def flac_whose_header_counts_twice_the_samples() -> bytes:
    return flac(total=2 * N_SAMPLES)


@damaged("counts-a-little-more.flac", duration_s=3.0, decoded_short=True)
def flac_whose_header_counts_a_few_samples_too_many() -> bytes:
    return flac(total=N_SAMPLES + 400)


@damaged("counts-days.flac", error="implausible_length")
def flac_whose_header_counts_the_most_that_it_can() -> bytes:
    return flac(total=(1 << 36) - 1)


@damaged("counts-half.flac", duration_s=3.0)
def flac_whose_header_counts_half_of_the_samples() -> bytes:
    return flac(total=N_SAMPLES // 2)


@damaged("counts-half-in-a-span.flac", duration_s=1.0, span=(1.75, 2.75))
def flac_whose_header_counts_fewer_samples_than_a_part_needs() -> bytes:
    return flac(total=N_SAMPLES // 2)


@damaged("counts-double-in-a-span.flac", duration_s=0.5, span=(2.25, 2.75))
def flac_whose_header_counts_double_of_which_a_part_is_a_clip() -> bytes:
    return flac(total=2 * N_SAMPLES)


@damaged("cut.flac", error="truncated")
def cut_flac() -> bytes:
    return flac()[:48_000]


@damaged("without-its-last-byte.flac", error="truncated")
def flac_without_its_last_byte() -> bytes:
    # The last frame has 2,944 of the 48,000 samples: more than a hundredth.
    return flac()[:-1]


@damaged("cut-a-little.flac", duration_s=2.816 * 10, decoded_short=True)
def flac_of_half_a_minute_without_its_last_frame() -> bytes:
    # 110 blocks of 4,096 samples; the last 29,440 / 4,096 = 0.1875 blocks are lost.
    return flac(28.208)[:-1]


@damaged("header-only.flac", error="truncated")
def flac_without_a_frame() -> bytes:
    return frames_of(flac())[0]


@damaged("header-only-to-a-pipe.flac", error="empty")
def flac_without_a_frame_or_a_count() -> bytes:
    return frames_of(flac(total=0))[0]


@damaged("joined.flac", duration_s=6.0)
def flacs_of_equal_length_that_were_joined() -> bytes:
    return flac() + flac(seed=1)


@damaged("joined-long-and-short.flac", duration_s=4.0)
def flacs_of_different_length_that_were_joined() -> bytes:
    return flac() + flac(1.0)


@damaged("joined-short-and-long.flac", duration_s=4.0)
def flacs_of_which_the_first_is_shorter() -> bytes:
    return flac(1.0) + flac()


@damaged("joined-of-a-minute.flac", duration_s=60.0)
def long_flacs_that_were_joined() -> bytes:
    return flac(20.0) + flac(20.0, seed=1) + flac(20.0, seed=2)


@damaged("joined-from-pipes.flac", duration_s=4.0)
def flacs_without_a_sample_count_that_were_joined() -> bytes:
    return flac(total=0) + flac(1.0, total=0)


@damaged("joined-in-a-span.flac", duration_s=1.0, span=(2.5, 3.5))
def flacs_that_were_joined_of_which_a_part_is_a_clip() -> bytes:
    return flac() + flac(seed=1)


@damaged("joined-and-cut.flac", error="truncated")
def flacs_that_were_joined_and_cut() -> bytes:
    return (flac() + flac(seed=1))[:-40_000]


@damaged("joined-a-cut-one.flac", error="truncated")
def flacs_of_which_the_first_was_cut_before_they_were_joined() -> bytes:
    return flac()[:48_000] + flac(seed=1)


@damaged("joined-of-two-rates.flac", error="undecodable")
def flacs_of_different_rates_that_were_joined() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound(), 8_000, format="FLAC")
    return flac() + file.getvalue()


@damaged("segment.flac", duration_s=(N_SAMPLES - 5 * BLOCK) / RATE_HZ)
def segment_of_a_flac_whose_frames_keep_their_numbers() -> bytes:
    head, *frames = frames_of(flac(total=0))
    return head + b"".join(frames[5:])


@damaged("span-of-a-segment.flac", duration_s=1.0, span=(0.5, 1.5))
def segment_of_a_flac_of_which_a_part_is_a_clip() -> bytes:
    head, *frames = frames_of(flac(total=N_SAMPLES - 5 * BLOCK))
    return head + b"".join(frames[5:])


@damaged("id3-in-front.flac", duration_s=3.0)
def flac_behind_an_id3_tag_without_a_count() -> bytes:
    return b"ID3\x04\0\0" + bytes([0, 0, 2, 0]) + bytes(256) + flac(total=0)


@damaged("id3-behind.flac", duration_s=3.0)
def flac_before_an_id3_tag() -> bytes:
    return flac() + b"TAG" + bytes(range(125))


@damaged("zeros-behind.flac", duration_s=3.0)
def flac_before_a_megabyte_of_zeros() -> bytes:
    return flac() + bytes(1 << 20)


@damaged("junk-behind.flac", duration_s=3.0)
def flac_before_something_else() -> bytes:
    return flac() + np.random.default_rng(3).bytes(5_000)


@damaged("large-blocks.flac", duration_s=3.0)
def flac_of_eight_channels_without_a_count() -> bytes:
    pcm = np.random.default_rng(5).uniform(-0.5, 0.5, (N_SAMPLES, 8))
    content = by_libsndfile(pcm, "PCM_24", format="FLAC")
    return replace_sample_count(content[:STREAM_BYTES], 0) + content[STREAM_BYTES:]


@damaged("hole.flac", error="truncated", plan_error="")
def flac_with_noise_over_its_middle() -> bytes:
    # Only decoding finds damage in the middle.
    content = flac()
    noise = np.random.default_rng(3).bytes(8_000)
    return content[:40_000] + noise + content[48_000:]


@damaged("damaged-tags.flac", duration_s=3.0)
def flac_whose_tags_libsndfile_refuses() -> bytes:
    content = bytearray(flac())
    content[46:50] = (127).to_bytes(4, "little")  # length of the name of the encoder
    return bytes(content)


@damaged("damaged-tags-and-frame.flac", error="truncated", plan_error="")
def flac_whose_tags_and_audio_are_damaged() -> bytes:
    # FFmpeg would make noise of the frame and say nothing.
    content = bytearray(flac_whose_tags_libsndfile_refuses())
    content[40_000:40_010] = bytes(10)
    return bytes(content)
