"""A check of a Parquet file's footer, after which its metadata can be used safely.

Arrow checks the entry of a column chunk when it is used. A damaged entry raises an error during
reading, but ends the process when `pyarrow` reads the metadata of a row group, which does not catch
exceptions. So the reading of each row group is begun once, up to its first page, before its
metadata is used.
"""

from typing import Any

import pyarrow.parquet as pq

from pipeline.readers.guards.file_view import FileView


class FooterGate(FileView):
    """A file for `pyarrow.PythonFile`, of which a check reads nothing.

    Args:
        file: The Parquet file, or a guard around it; it can be seeked.
    """

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self._is_shut = self._was_tried = False

    def read(self, n_bytes: int = -1) -> bytes:
        """Return bytes of the file.

        Raises:
            OSError: A check is going on.
        """
        if self._is_shut:
            self._was_tried = True
            raise OSError("nothing is read during the check of the footer")
        content: bytes = self._file.read(n_bytes)
        return content

    def check(self, parquet: pq.ParquetFile) -> None:
        """Raise what Arrow finds wrong with the entries of the footer.

        Args:
            parquet: The file as Arrow has opened it.

        Raises:
            OSError, pyarrow.ArrowException: An entry makes no sense.
        """
        self._is_shut = True
        try:
            for group in range(parquet.num_row_groups):
                self._was_tried = False
                try:
                    next(parquet.iter_batches(1, [group], use_threads=False), None)
                except Exception:
                    if not self._was_tried:
                        raise
        finally:
            self._is_shut = False
