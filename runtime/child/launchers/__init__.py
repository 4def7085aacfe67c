"""How the child of a run is started: one module for each worker type."""
