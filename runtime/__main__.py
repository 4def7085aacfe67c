"""The command line, as ``branchline`` or ``python -m runtime``."""

from __future__ import annotations

from runtime.cli import branchline
from runtime.cli.output import write_any_character


def main() -> None:
    """Execute the command in the arguments, and end the process."""
    write_any_character()
    branchline(prog_name="branchline")


if __name__ == "__main__":
    main()
