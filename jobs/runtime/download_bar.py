"""Progress of a download: a bar on a terminal, and a single line elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from jobs.runtime.run_log import RunLog


@contextmanager
def fetch_bar(source: str, log: RunLog) -> Iterator[Callable[[int, int | None], None]]:
    """Open a progress bar that appears with the first bytes and disappears after the block.

    Args:
        source: URL or URI of the file, for the log.
        log: The run's log, which also has the console for the bar.

    Yields:
        A function to call with the bytes downloaded so far and the total bytes (None if unknown).
    """
    bar = Progress(
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=log.console,
        transient=True,
        disable=not log.has_bar,
    )
    task = bar.add_task("downloading", visible=False)

    def show(done: int, total: int | None) -> None:
        if not bar.tasks[task].visible:
            log.report("downloading", f"downloading {source}", source=source)
        bar.update(task, completed=done, total=total, visible=True)

    with bar:
        yield show
