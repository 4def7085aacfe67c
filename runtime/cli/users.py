"""Accounts, passwords and tokens, managed by an operator."""

from __future__ import annotations

import argon2
import click

from runtime.cli.output import as_json, print_json, say
from runtime.errors import Invalid, NotFound, StreamUnavailable
from runtime.model import User
from runtime.settings import current
from runtime.store import Database, migrate, users
from runtime.stream import Link, Revocations
from runtime.weak_passwords import MIN_LENGTH, weakness


@click.group()
def user() -> None:
    """Add accounts, and change passwords."""


@user.command("add")
@click.argument("email")
@click.option("--name", help="The user's name.")
@click.password_option(help="The password; prompts for it if not given.")
@as_json
def add(email: str, name: str | None, password: str, json: bool) -> None:
    """Create an account for EMAIL, even if registration is closed."""
    _check(password, email)
    made = register(_database(), email, password, name)
    if json:
        print_json({"user": made.encode()})
    else:
        say(f"{made.email} can sign in now.")


@user.command("password")
@click.argument("email")
@click.password_option(help="The new password; prompts for it if not given.")
def password(email: str, password: str) -> None:
    """Change the password of the account EMAIL and sign it out everywhere.

    Its API tokens stay valid.
    """
    database = _database()
    owner = _owner(database, email)
    _check(password, owner.email)
    database.write(users.set_password, owner.id, _hash(password))
    try:
        Revocations(Link(current().redis_url, current().redis)).announce(owner.id)
    except StreamUnavailable:
        pass  # without Redis the web processes cache no credentials
    say(f"The password of {owner.email} was changed; all its sessions are signed out.")


@click.group()
def token() -> None:
    """Create API tokens."""


@token.command("create")
@click.argument("email")
@click.option("--name", default="command line", show_default=True, help="What the token is for.")
@as_json
def create(email: str, name: str, json: bool) -> None:
    """Create an API token for the account EMAIL and print it. It is not shown again.

    Send it as: Authorization: Bearer TOKEN
    """
    database = _database()
    made, secret = database.write(users.create_token, _owner(database, email).id, name)
    if json:
        print_json({"token": made.encode(), "secret": secret})
    else:
        click.echo(secret)


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


def _owner(database: Database, email: str) -> User:
    found = database.read(users.by_email, email)
    if found is None:
        raise NotFound(f"There is no account for {email}. Create one: branchline user add {email}")
    return found[0]


def _database() -> Database:
    settings = current()
    migrate.require(settings.database_url)
    return Database(settings.database_url, settings.database)
