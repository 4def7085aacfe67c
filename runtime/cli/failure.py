"""How a failed command ends: with a sentence, not a traceback."""

from __future__ import annotations

from typing import IO, Any

import click

from runtime.errors import BranchlineError, ConfigurationError, Invalid
from runtime.logs import printable


class Failure(click.ClickException):
    """One red sentence. Exit code 2 if the input or a setting is wrong, else 1."""

    def __init__(self, error: BranchlineError) -> None:
        super().__init__(_message(error))
        self.exit_code = 2 if isinstance(error, ConfigurationError | Invalid) else 1  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it to stderr."""
        click.secho(printable(self.message, prose=True), file=file, err=file is None, fg="red")


def _message(error: BranchlineError) -> str:
    fields = error.errors if isinstance(error, Invalid) else ()
    details = [f"{'.'.join(map(str, field.path))}: {field.message}" for field in fields]
    return "\n  ".join([str(error), *(line for line in details if not line.endswith(str(error)))])
