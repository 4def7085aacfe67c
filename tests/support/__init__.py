"""What the larger tests share: the whole stack as real processes, and a client for it."""
