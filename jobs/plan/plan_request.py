"""The arguments of `passtream plan`, and which of its paths are sources and which the table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.settings.config import EmbedConfig
from jobs.settings.saved_settings import STDIN
from pipeline.errors import UsageError
from pipeline.io.protocols import is_remote
from pipeline.io.storage import Storage
from pipeline.table.store.open_store import open_store
from pipeline.table.table import Table


@dataclass(frozen=True)
class PlanRequest:
    """The arguments of `passtream plan`.

    Attributes:
        paths: Sources. The last path may be the table.
        table: Folder or URI of the table; empty if `paths` or the YAML file has it, or if there is
            no table.
        config: YAML file with settings; None if there is no file.
        options: Settings by field name of `EmbedConfig`; None means that the user did not give it.
        sample: Approximate number of clips to probe; None probes all.
        gpus: Names of the devices to estimate the cost for.
        core: Name of the CPU core that decodes; empty for the first core in the user's file of
            speeds, or else the first shipped core.
        figures: The user's file of measured speeds; None if there is no file.
        prices: Price per hour of each device, by its name.
    """

    paths: tuple[str, ...] = ()
    table: str = ""
    config: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    sample: int | None = None
    gpus: tuple[str, ...] = ()
    core: str = ""
    figures: Path | None = None
    prices: Mapping[str, float] = field(default_factory=dict)


def sources_and_table(request: PlanRequest, config: EmbedConfig) -> tuple[tuple[str, ...], str]:
    """Return the sources and the location of the table, which is empty if there is no table.

    Raises:
        UsageError: No source is named.
    """
    paths, table = request.paths, request.table
    if not table and len(paths) > 1 and _may_be_table(paths[-1], config.storage):
        return paths[:-1], paths[-1]
    sources = paths or config.sources
    if not sources:
        raise UsageError("name at least one SOURCE: passtream plan SOURCE... [TABLE]")
    return sources, table or config.table


def _may_be_table(location: str, storage: Storage) -> bool:
    """Return whether a path is a table, or a local folder that could become one."""
    if location == STDIN or Path(location).is_file():
        return False
    store = open_store(location, storage)
    if Table.read(store):
        return True
    is_pattern = any(character in location for character in "*?[{")
    return not (is_remote(location) or is_pattern or store.entries())
