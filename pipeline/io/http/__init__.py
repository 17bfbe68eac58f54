"""HTTP: which hosts may be asked, sessions, ranged reads, and what an error reply means."""
