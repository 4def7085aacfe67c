"""The routes of systems."""
