"""Progress of a download: bytes done to a bar on a terminal, and to one line elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from jobs.runtime.run_log import RunLog


@contextmanager
def fetch_bar(source: str, log: RunLog) -> Iterator[Callable[[int, int | None], None]]:
    """A bar that shows once there is something to fetch, and is gone at the end of the block.

    Args:
        source: URL or URI, told when the first bytes have come.
        log: takes the line and the bar.

    Yields:
        What to call with bytes done and bytes in all (None where unknown).
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
