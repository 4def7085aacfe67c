"""Accounts and tokens, made by whoever operates Branchline."""

from __future__ import annotations

import argon2
import click

from runtime.cli.terminal import as_json, print_json
from runtime.errors import Invalid, NotFound
from runtime.model import User
from runtime.settings import current
from runtime.store import Database, users

MIN_PASSWORD = 8


@click.group()
def user() -> None:
    """Add accounts."""


@user.command("add")
@click.argument("email")
@click.option("--name", help="What to call the user.")
@click.password_option(help="The password; asked for where it is not given.")
@as_json
def add(email: str, name: str | None, password: str, json: bool) -> None:
    """Make an account for EMAIL, also where registration is closed."""
    made = register(_database(), email, password, name)
    if json:
        print_json({"user": made.encode()})
    else:
        click.echo(f"{made.email} may sign in now.")


@click.group()
def token() -> None:
    """Make API tokens."""


@token.command("create")
@click.argument("email")
@click.option("--name", default="command line", show_default=True, help="What the token is for.")
@as_json
def create(email: str, name: str, json: bool) -> None:
    """Make an API token for the account EMAIL and print it, this once.

    Send it as: Authorization: Bearer TOKEN
    """
    database = _database()
    owner = database.read(users.by_email, email)
    if owner is None:
        raise NotFound(f"There is no account for {email}. Make one: branchline user add {email}")
    made, secret = database.write(users.create_token, owner[0].id, name)
    if json:
        print_json({"token": made.encode(), "secret": secret})
    else:
        click.echo(secret)


def register(database: Database, email: str, password: str, name: str | None = None) -> User:
    """Make an account. Raises Conflict if there is one, Invalid if the password is too short."""
    if "@" not in email:
        raise Invalid(f"{email!r} is not an email address.")
    if len(password) < MIN_PASSWORD:
        raise Invalid(f"A password needs at least {MIN_PASSWORD} characters.")
    password_hash = argon2.PasswordHasher().hash(password)
    return database.write(users.register, email=email, password_hash=password_hash, name=name)


def _database() -> Database:
    settings = current()
    return Database(settings.database_url, settings.database)
