"""Accounts and passwords, managed by an operator."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable

import argon2
import click

from runtime.cli.output import as_json, print_json, say
from runtime.errors import Invalid, NotFound, StreamUnavailable
from runtime.model import User
from runtime.services import Services
from runtime.settings import current
from runtime.store import Database, migrate, users
from runtime.stream import Revocations
from runtime.weak_passwords import MIN_LENGTH, weakness

_MADE_BYTES = 18
"""Random bytes of a password that is made: 24 characters."""


def _password_options(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")(
        command
    )
    return click.option("--password", help="The password; other users of the machine can see it.")(command)


def _given(password: str | None, password_stdin: bool) -> str | None:
    """The password that was given in one of the two ways."""
    if not password_stdin:
        return password
    if password is not None:
        raise Invalid("Give the password by --password or by --password-stdin, not by both.")
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise Invalid("There is no password in stdin.")
    return line


@click.group()
def user() -> None:
    """Add accounts, and change passwords."""


@user.command("add")
@click.argument("email")
@click.option("--name", help="The user's name.")
@_password_options
@as_json
def add(email: str, name: str | None, password: str | None, password_stdin: bool, json: bool) -> None:
    """Create an account for EMAIL, even if registration is closed.

    Without a password one is made and printed, once.
    """
    given = _given(password, password_stdin)
    chosen = given or secrets.token_urlsafe(_MADE_BYTES)
    _check(chosen, email)
    user = register(opened_database(), email, chosen, name)
    if json:
        print_json({"user": user.encode()} | ({} if given else {"password": chosen}))
        return
    say(f"{user.email} can sign in now.")
    if not given:
        say(f"Password, which is not shown again: {chosen}")


@user.command("password")
@click.argument("email")
@_password_options
def password(email: str, password: str | None, password_stdin: bool) -> None:
    """Change the password of the account EMAIL and sign it out everywhere.

    Its API tokens stay valid. Prompts for the password if it is not given.
    """
    given = _given(password, password_stdin) or click.prompt(
        "Password", hide_input=True, confirmation_prompt=True
    )
    database = opened_database()
    owner = owner_of(database, email)
    _check(given, owner.email)
    database.write(users.set_password, owner.id, _hash(given))
    try:
        Revocations(Services(current()).link).announce(owner.id)
    except StreamUnavailable:
        pass  # without Redis the web processes cache no credentials
    say(f"The password of {owner.email} was changed; all its sessions are signed out.")


def register(database: Database, email: str, password: str, name: str | None = None) -> User:
    """Create an account. Raises Conflict if it exists, Invalid if the password is too short."""
    if "@" not in email:
        raise Invalid(f"{email!r} is not an email address.")
    return database.write(users.register, email=email, password_hash=_hash(password), name=name)


def _check(password: str, email: str) -> None:
    if problem := weakness(password, email):
        raise Invalid(f"The password {problem}.")


def _hash(password: str) -> str:
    if len(password) < MIN_LENGTH:
        raise Invalid(f"A password needs at least {MIN_LENGTH} characters.")
    return argon2.PasswordHasher().hash(password)


def owner_of(database: Database, email: str) -> User:
    """The account of an address. Raises NotFound."""
    found = database.read(users.by_email, email)
    if found is None:
        raise NotFound(f"There is no account for {email}. Create one: branchline user add {email}")
    return found[0]


def opened_database() -> Database:
    """The installation's database. Raises ConfigurationError where it is not migrated."""
    settings = current()
    migrate.require(settings.database_url)
    return Database(settings.database_url, settings.database)
