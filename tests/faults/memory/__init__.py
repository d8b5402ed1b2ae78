"""Whether memory grows with the jobs."""
