"""The command line, as ``branchline`` or ``python -m runtime``."""

from __future__ import annotations

from runtime.cli import branchline


def main() -> None:
    """Execute the command in the arguments, and end the process."""
    branchline(prog_name="branchline")


if __name__ == "__main__":
    main()
