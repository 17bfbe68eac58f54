"""A run on Ray: driver, scheduler, actor pool, actor."""
