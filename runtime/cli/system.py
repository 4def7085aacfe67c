"""``branchline system``: systems of agents, as a client of the API."""

from __future__ import annotations

import tomllib
from pathlib import Path

import click
import orjson

from runtime.cli.output import as_json, counted, print_json, say
from runtime.cli.sign_in import as_account, sign_in
from runtime.errors import Invalid
from runtime.model import Json


@click.group()
def system() -> None:
    """Check systems of agents."""


@system.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@as_account
@as_json
def check(file: Path, url: str | None, email: str | None, token: str | None, json: bool) -> None:
    """Find what is wrong with the system that FILE defines, in TOML or JSON.

    The server is asked, for it knows the workers. The exit code is 1 if there is an error, else 0.
    """
    definition = read_definition(file)
    problems = sign_in(url, email, token).post("/api/systems/check", definition)["problems"]
    errors = sum(problem["severity"] == "error" for problem in problems)
    if json:
        print_json({"problems": problems})
    else:
        for problem in problems:
            say(f"{problem['severity']}: {problem['path']}: {problem['message']} ({problem['code']})")
        say(f"{file}: {counted(errors, 'error')}, {counted(len(problems) - errors, 'warning')}")
    raise SystemExit(1 if errors else 0)


def read_definition(file: Path) -> Json:
    """What a file says, by its name JSON or TOML. Raises Invalid."""
    try:
        text = file.read_text(encoding="utf-8")
        return orjson.loads(text) if file.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise Invalid(f"{file} nests too deeply.") from error
    except ValueError as error:
        raise Invalid(f"{file} is neither TOML nor JSON: {error}") from error
