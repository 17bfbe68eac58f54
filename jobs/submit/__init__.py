"""Ray Jobs: what is sent, to which cluster, and the log of the job."""
