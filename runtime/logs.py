"""Logging: config/logging.toml, applied once per process."""

from __future__ import annotations

import logging.config
import tomllib

from runtime.settings import CHECKOUT, Settings

_FILE = CHECKOUT / "config" / "logging.toml"


def configure(settings: Settings) -> None:
    """Log as config/logging.toml says."""
    logging.config.dictConfig(tomllib.loads(_FILE.read_text()))
