"""`modhub token`: a fresh token for the HTTP API, and the lines that let its holder in."""

from __future__ import annotations

import hashlib
import json
import re
import secrets

import click

from hub.errors import InvalidConfig
from hub.http.config import Role

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_PREFIX = "modhub_"  # by which scanners for secrets know one that went astray


@click.command(short_help="Make a token for the HTTP API.")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.READ.value,
    show_default=True,
    help="What it may do; each role may do what those before it may.",
)
@click.option("--json", "as_json", is_flag=True, help="Print token and hash as one JSON object, and nothing else.")
def token(name: str, role: str, *, as_json: bool) -> int:
    """Make a token for NAME: print it once on stdout, and on stderr the lines for the configuration.

    \b
    Only its hash stands in the configuration; the token itself is nowhere but where you put it:
      (umask 077; modhub token ci --role operate > ci.token 2>> modhub.toml)
    """  # noqa: D301 - click's mark for a paragraph that is not to be wrapped
    if not _NAME.fullmatch(name):
        raise InvalidConfig(f"{name!r} can't name a token", hint="allowed: 1 to 64 of a-z A-Z 0-9 . _ @ -")
    made = _PREFIX + secrets.token_urlsafe(32)
    digest = hashlib.sha256(made.encode()).hexdigest()
    if as_json:
        click.echo(json.dumps({"name": name, "role": role, "token": made, "sha256": digest}, indent=2))
        return 0
    lines = ("", "[[http.tokens]]", f"name = {json.dumps(name)}", f'role = "{role}"', f'sha256 = "{digest}"')
    click.echo("\n".join(lines), err=True)
    click.echo(made)
    return 0
