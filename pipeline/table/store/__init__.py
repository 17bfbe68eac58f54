"""Where a table lies: local disk or object store, with conditional puts and a lease."""
