"""Maintenance: duties that are done again and again, each in a module, and the reaper that does them."""
