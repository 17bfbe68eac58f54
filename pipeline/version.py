"""The version of the installed passtream package."""

import importlib.metadata


def passtream_version() -> str:
    """Return the version of the installed passtream, or an empty text if it is not installed."""
    try:
        return importlib.metadata.version("passtream")
    except importlib.metadata.PackageNotFoundError:
        return ""
