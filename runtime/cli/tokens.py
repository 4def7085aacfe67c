"""Tokens: of accounts, for programs that use the API, and of pools, for machines elsewhere."""

from __future__ import annotations

from uuid import UUID

import click

from runtime.cli.output import as_json, print_json, say
from runtime.cli.users import opened_database, owner_of
from runtime.errors import Invalid
from runtime.model import encode_time
from runtime.store import pool_tokens, users


@click.group()
def token() -> None:
    """Create API tokens, and tokens of pools."""


@token.command("create")
@click.argument("email", required=False)
@click.option("--pool", metavar="NAME", help="For a machine that executes the runs of this pool.")
@click.option("--name", default="command line", show_default=True, help="What the token is for.")
@as_json
def create(email: str | None, pool: str | None, name: str, json: bool) -> None:
    """Create a token and print it: for the account EMAIL, or for a pool. It is not shown again.

    That of an account is an API token; send it as: Authorization: Bearer TOKEN.
    Whoever has that of a pool gets its runs, with all that was said in them, and
    writes their answers.
    """
    if (email is None) == (pool is None):
        raise Invalid("Say whom the token is for: an EMAIL, or --pool NAME.")
    database = opened_database()
    if pool is not None:
        made, secret = database.write(pool_tokens.create, pool, name)
        encoded = made.encode()
    else:
        of_account, secret = database.write(users.create_token, owner_of(database, email or "").id, name)
        encoded = of_account.encode()
    if json:
        print_json({"token": encoded, "secret": secret})
    else:
        click.echo(secret)


@token.command("list")
@as_json
def listing(json: bool) -> None:
    """List the tokens of pools, without their secrets."""
    found = opened_database().read(pool_tokens.listing)
    if json:
        return print_json({"items": [one.encode() for one in found]})
    if not found:
        say("There are no tokens of pools. Create one: branchline token create --pool NAME")
    for one in found:
        used = f"last used {encode_time(one.last_used_at)}" if one.last_used_at else "never used"
        say(f"{one.id}  {one.pool}  {one.name}  {used}")


@token.command("revoke")
@click.argument("token_id", metavar="ID", type=click.UUID)
def revoke(token_id: UUID) -> None:
    """Make the pool token ID worthless: its machine is given no more runs."""
    opened_database().write(pool_tokens.revoke, str(token_id))
    say("The token was revoked.")
