"""A padded stream of samples to the embeddings of its moments, in large batches.

The reference runs a forward a window; here the windows of a level are views of the stream, copied
batch by batch.
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
    """Embeddings of every moment of a padded stream, thousands of windows a forward.

    Args:
        stream: (n_sounds, n_samples), reflected by half the longest level at both ends.
        levels: of the module.
        passt: windows (n, samples) to what PaSST says of them (n, size).
        mel: windows (n, samples) to log-mel (n, 128, frames).
        batch_windows: most windows of a length in one forward.
        hop: samples from one moment to the next.

    Returns:
        (n_sounds, n_moments, size), the levels side by side.
    """
    longest = longest_window(levels)
    n_moments = (stream.shape[1] - longest) // hop + 1
    columns = []
    for level in levels:
        model = passt if level.kind == "passt" else mel
        margin = longest // 2 - level.window // 2
        # A view: the overlaps are copied batch by batch only.
        windows = stream[:, margin:].unfold(1, level.window, hop)[:, :n_moments]
        step = batch_windows(level.window)
        parts = [
            model(batch.contiguous()).flatten(1) for sound in windows for batch in sound.split(step)
        ]
        columns.append(torch.cat(parts).view(len(stream), n_moments, -1))
    return columns[0] if len(columns) == 1 else torch.cat(columns, dim=2)


def padded_blocks(
    pieces: Iterable[Tensor], window: int, hop: int, block_moments: int
) -> Iterator[Tensor]:
    """A clip that arrives in pieces, as overlapping blocks of the reflected stream.

    Args:
        pieces: (n_sounds, n_samples) each, in order.
        window: samples of the longest level; its half is reflected at both ends of the clip.
        hop: samples from one moment to the next.
        block_moments: moments of a block; the last one has what is left.

    Yields:
        (n_sounds, (moments - 1) x hop + window); one block begins where the moments of the one
        before it ended.

    Raises:
        WindowError: the clip is too short to be reflected.
    """
    pad = window // 2
    block, step = (block_moments - 1) * hop + window, block_moments * hop
    # What a block and the step over it take, and then the last pad + 1 samples, which stay: the end
    # of the clip is their reflection.
    enough = max(block, step) + pad + 1
    held: Tensor | None = None
    is_open = False
    for piece in pieces:
        held = piece if held is None else torch.cat((held, piece), dim=1)
        if not is_open and held.shape[1] > pad:
            held = torch.cat((held[:, 1 : pad + 1].flip(1), held), dim=1)
            is_open = True
        while is_open and held.shape[1] >= enough:
            yield held[:, :block]
            held = held[:, step:]
    if held is None or not is_open:
        n_samples = 0 if held is None else held.shape[1]
        raise WindowError(
            f"a clip of {n_samples} samples is too short for windows of {window}: reflecting half "
            f"a window takes at least {pad + 1}; pad the clip with zeros"
        )
    held = torch.cat((held, held[:, -pad - 1 : -1].flip(1)), dim=1)
    while held.shape[1] >= window:
        yield held[:, :block]
        held = held[:, step:]
