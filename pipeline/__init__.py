"""The pipeline from a source of recordings to a committed Parquet table, without Ray or torch.

The sub-packages follow the path of a clip. `README.md` in this folder names the files to read
first.
"""
