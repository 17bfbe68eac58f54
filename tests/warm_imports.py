"""Imports of the process from which `tests.warm` forks: without Ray, and without threads."""

import models.hear.base  # noqa: F401
