"""The version of passtream that runs."""

import importlib.metadata


def passtream_version() -> str:
    """The version of passtream that is installed; empty where it runs without being installed."""
    try:
        return importlib.metadata.version("passtream")
    except importlib.metadata.PackageNotFoundError:
        return ""
