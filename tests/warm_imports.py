"""What `tests.warm` has loaded before it forks: no Ray, and nothing that has begun a thread."""

import models.hear.base  # noqa: F401
