"""From a source of recordings to a committed Parquet table; no Ray, no torch.

The rooms lie along the way of a clip; `README.md` in this folder says which file to read first.
"""
