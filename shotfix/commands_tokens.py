"""The commands that give people and programs their tokens, and take them back."""
# ruff: noqa: D301, PLC0415  (\\b is the mark of click; each command pays only for its own imports)

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from shotfix.command_line import CONFIGURATION, JSON, SOMEWHERE, complain, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shotfix.api.people import Person

ROLES: Final = ("analyst", "supervisor", "researcher", "auditor", "courier")
"""As `shotfix.api.permissions.ROLES`, which a test holds against it: help must not load the API."""
SITE = click.option("--config", "config", type=SOMEWHERE, required=True, metavar="FILE", help="site.toml.")


@click.group()
def token() -> None:
    """Say who may speak to a centre's API, and as what."""


@token.command()
@SITE
@click.option("--name", required=True, metavar="NAME", help="Who: opaque, 1 to 64 letters, digits and _.@-")
@click.option("--role", "roles", required=True, multiple=True, type=click.Choice(ROLES), help="May be repeated.")
@click.option("--days", type=click.IntRange(1, 3_650), default=90, show_default=True, help="How long it counts.")
@JSON
def add(config: Path, name: str, roles: tuple[str, ...], days: int, as_json: bool) -> None:
    """Make a token and print it, once: the centre keeps its digest only.

    A running centre knows it within a second. Whoever has one already may get another, for a change without a gap.

    \b
    Example:
        shotfix token add --config site.toml --name d.ortiz --role analyst --days 90
    """
    from shotfix.api.people_file import add_token

    path = _file(config)
    with _explained():
        made, secret = add_token(path, name, roles, days, time.time_ns())
    told = _told(made)
    if as_json:
        click.echo(json.dumps(told | {"token": secret}))
        return
    click.echo(f"{made.name}, {' and '.join(made.roles)}, until {told['expires']}; token {told['token_id']}", err=True)
    click.echo("this is shown once; hand it over by a way that nobody else reads:", err=True)
    click.echo(secret)


@token.command(name="list")
@SITE
@JSON
def list_tokens(config: Path, as_json: bool) -> None:
    """Say who has tokens: of each the first digits of its digest, and whether it still counts.

    \b
    Example:
        shotfix token list --config site.toml
    """
    from shotfix.api.people import read_people

    path = _file(config)
    with _explained():
        people = read_people(path)
    now_ns = time.time_ns()
    told = [_told(person) | {"state": person.why_not(now_ns) or "valid"} for person in people]
    if as_json:
        click.echo(json.dumps({"tokens": told}))
        return
    for each in told:
        roles = ",".join(each["roles"])
        click.echo(f"{each['token_id']}  {each['state']:<7}  {each['name']:<24}  {roles}  until {each['expires']}")
    if not told:
        click.echo("nobody has a token; shotfix token add gives one")


@token.command()
@SITE
@click.option("--name", metavar="NAME", help="All tokens of this person.")
@click.option("--token-id", metavar="DIGITS", help="This one, as `shotfix token list` names it.")
@JSON
def revoke(config: Path, name: str | None, token_id: str | None, as_json: bool) -> None:
    """Take tokens back: a running centre refuses them, and ends their streams, within seconds.

    \b
    Example:
        shotfix token revoke --config site.toml --name d.ortiz
    """
    from shotfix.api.people_file import revoke_tokens

    if (name is None) == (token_id is None):
        raise click.UsageError("say whose: --name NAME, or which: --token-id DIGITS")
    path = _file(config)
    with _explained():
        gone = revoke_tokens(path, name, token_id, time.time_ns())
    if as_json:
        click.echo(json.dumps({"revoked": [_told(person) for person in gone]}))
        return
    for person in gone:
        click.echo(f"{_told(person)['token_id']} of {person.name} is revoked")


def _told(person: Person) -> dict[str, Any]:
    from acoustic.instant import instant_text
    from shotfix.api.people_file import token_id_of

    revoked = None if person.revoked_ns is None else instant_text(person.revoked_ns, 0)
    return {
        "token_id": token_id_of(person),
        "name": person.name,
        "roles": list(person.roles),
        "created": instant_text(person.created_ns, 0),
        "expires": instant_text(person.expires_ns, 0),
        "revoked": revoked,
    }


def _file(config: Path) -> Path:
    """Where the site's people are written."""
    from shotfix.config_reading import read_site

    return read_site(config).people_file


@contextmanager
def _explained() -> Iterator[None]:
    """A file of people that cannot be used ends a command with one line."""
    from shotfix.api.people import PeopleError

    try:
        yield
    except PeopleError as error:
        complain(one_line(error))
        raise click.exceptions.Exit(CONFIGURATION) from None
    except ValueError as error:
        raise click.UsageError(one_line(error)) from None
    except LookupError as error:
        raise click.UsageError(str(error.args[0])) from None
