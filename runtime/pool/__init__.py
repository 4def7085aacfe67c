"""A pool: the processes that claim runs and supervise their children."""
