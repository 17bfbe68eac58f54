"""HTTP access: rules of allowed hosts, sessions, ranged reads, and faults of servers."""
