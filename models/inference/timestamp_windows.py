"""Embedding of all timestamps of a stream of samples, in large batches.

The reference runs one forward per window. Here the windows of a level are views of the stream, and
each batch of them is copied and embedded in one forward.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from models.errors import WindowError
from models.inference.timestamp_levels import TIMESTAMP_HOP, Level, longest_window


def embed_timestamp_windows(
    stream: Tensor,
    levels: Sequence[Level],
    passt: Callable[[Tensor], Tensor],
    mel: Callable[[Tensor], Tensor],
    batch_windows: Callable[[int], int],
    hop: int = TIMESTAMP_HOP,
) -> Tensor:
    """Compute the embeddings of all timestamps of a padded stream.

    Args:
        stream: Clips reflected at both ends by half the longest window, (n_sounds, n_samples).
        levels: Levels of the embedding.
        passt: Model of the `passt` levels, from windows (n, samples) to outputs (n, size).
        mel: Front end of the `mel` level, from windows (n, samples) to log-mel (n, 128, frames).
        batch_windows: Greatest number of windows per forward, given the samples per window.
        hop: Samples from one timestamp to the next.

    Returns:
        (n_sounds, n_timestamps, size), the levels side by side.
    """
    longest = longest_window(levels)
    n_timestamps = (stream.shape[1] - longest) // hop + 1
    columns = []
    for level in levels:
        model = passt if level.kind == "passt" else mel
        margin = longest // 2 - level.window // 2
        # Windows overlap, so they stay a view of the stream; only one batch at a time is copied.
        windows = stream[:, margin:].unfold(1, level.window, hop)[:, :n_timestamps]
        n_batch = batch_windows(level.window)
        outputs = [
            model(batch.contiguous()).flatten(1)
            for clip in windows
            for batch in clip.split(n_batch)
        ]
        columns.append(torch.cat(outputs).view(len(stream), n_timestamps, -1))
    return columns[0] if len(columns) == 1 else torch.cat(columns, dim=2)


def padded_blocks(
    pieces: Iterable[Tensor], window: int, hop: int, block_timestamps: int
) -> Iterator[Tensor]:
    """Yield the reflected stream of a clip in overlapping blocks, while the clip arrives in pieces.

    Args:
        pieces: Pieces of the clip in order, (n_sounds, n_samples) each.
        window: Samples per window of the longest level. The clip is reflected by half a window at
            both ends.
        hop: Samples from one timestamp to the next.
        block_timestamps: Timestamps per block; the last block may have fewer.

    Yields:
        Samples of a block, (n_sounds, (timestamps - 1) x hop + window). Each block begins at the
        first window that is not in an earlier block.

    Raises:
        WindowError: The clip is too short to be reflected.
    """
    pad = window // 2
    block, step = (block_timestamps - 1) * hop + window, block_timestamps * hop
    # Besides a block and the step to the next one, the last pad + 1 samples stay in the buffer: the
    # clip's end will be reflected from them.
    min_buffered = max(block, step) + pad + 1
    buffer: Tensor | None = None
    is_start_padded = False
    for piece in pieces:
        buffer = piece if buffer is None else torch.cat((buffer, piece), dim=1)
        if not is_start_padded and buffer.shape[1] > pad:
            buffer = torch.cat((buffer[:, 1 : pad + 1].flip(1), buffer), dim=1)
            is_start_padded = True
        while is_start_padded and buffer.shape[1] >= min_buffered:
            yield buffer[:, :block]
            buffer = buffer[:, step:]
    if buffer is None or not is_start_padded:
        n_samples = 0 if buffer is None else buffer.shape[1]
        raise WindowError(
            f"a clip of {n_samples} samples is too short for windows of {window}: reflecting half "
            f"a window takes at least {pad + 1} samples; pad the clip with zeros"
        )
    buffer = torch.cat((buffer, buffer[:, -pad - 1 : -1].flip(1)), dim=1)
    while buffer.shape[1] >= window:
        yield buffer[:, :block]
        buffer = buffer[:, step:]
