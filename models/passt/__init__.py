"""The PaSST network: log-mel front end, blocks, packed attention, linear layers, precision."""

from models.passt.preprocess import AugmentMelSTFT
from models.passt.transformer import PaSST

__all__ = ["AugmentMelSTFT", "PaSST"]
