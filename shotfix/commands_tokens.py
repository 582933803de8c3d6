"""The commands that give people and programs their tokens, and take them back."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from shotfix.command_line import CONFIGURATION, JSON, SOMEWHERE, complain, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shotfix.api.people import Person
    from shotfix.config import SiteConfig

ROLES: Final = ("analyst", "supervisor", "researcher", "auditor", "courier")
"""As `shotfix.api.permissions.ROLES`, which a test holds against it: help must not load the API."""
SITE = click.option("--config", "config", type=SOMEWHERE, required=True, metavar="FILE", help="site.toml.")
WHOSE = click.option("--name", metavar="NAME", help="All tokens of this person.")
WHICH = click.option("--token-id", metavar="DIGITS", help="This one, as `shotfix token list` names it.")


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

    path = _site(config).people_file
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
    """Say who has tokens: the first digits of each one's digest, whether it counts, when it was last used.

    A running centre writes down each hour which were used: one without a use noted may be in use since. One that lies
    unused too long (people.idle_days) is idle.

    \b
    Example:
        shotfix token list --config site.toml
    """
    from acoustic.instant import instant_text
    from shotfix.api.people import read_people
    from shotfix.api.token_uses import IdleRule, read_uses, uses_file

    site = _site(config)
    rule = IdleRule(site.people.idle_days, site.people.program_idle_days)
    with _explained():
        people = read_people(site.people_file)
        uses = read_uses(uses_file(site.people_file))
    now_ns, told = time.time_ns(), []
    for person in people:
        use = uses.get(person.sha256)
        state = person.why_not(now_ns) or ("idle" if use is not None and use.is_idle(person, rule) else "valid")
        used = None if use is None or use.used_ns is None else instant_text(use.used_ns, 0)
        told.append(_told(person) | {"state": state, "used": used})
    if as_json:
        click.echo(json.dumps({"tokens": told}))
        return
    for each in told:
        roles = ",".join(each["roles"])
        used = f"used {each['used']}" if each["used"] else "no use noted"
        who = f"{each['token_id']}  {each['state']:<7}  {each['name']:<24}"
        click.echo(f"{who}  {roles}  {used}, until {each['expires']}")
    if not told:
        click.echo("nobody has a token; shotfix token add gives one")


@token.command()
@SITE
@WHOSE
@WHICH
@JSON
def renew(config: Path, name: str | None, token_id: str | None, as_json: bool) -> None:
    """Let tokens that lay unused too long count again; a running centre knows it within a second.

    When they expire stays as it was; what is expired or revoked stays so, and `shotfix token add` gives another.

    \b
    Example:
        shotfix token renew --config site.toml --name d.ortiz
    """
    from shotfix.api.people_file import renew_tokens

    _change(renew_tokens, "renewed", config, name, token_id, as_json=as_json)


@token.command()
@SITE
@WHOSE
@WHICH
@JSON
def revoke(config: Path, name: str | None, token_id: str | None, as_json: bool) -> None:
    """Take tokens back: a running centre refuses them, and ends their streams, within seconds.

    \b
    Example:
        shotfix token revoke --config site.toml --name d.ortiz
    """
    from shotfix.api.people_file import revoke_tokens

    _change(revoke_tokens, "revoked", config, name, token_id, as_json=as_json)


def _change(
    change: Callable[[Path, str | None, str | None, int], tuple[Person, ...]],
    done: str,
    config: Path,
    name: str | None,
    token_id: str | None,
    *,
    as_json: bool,
) -> None:
    """Change somebody's tokens, or one, and say of which it was done."""
    if (name is None) == (token_id is None):
        raise click.UsageError("say whose: --name NAME, or which: --token-id DIGITS")
    path = _site(config).people_file
    with _explained():
        changed = change(path, name, token_id, time.time_ns())
    if as_json:
        click.echo(json.dumps({done: [_told(person) for person in changed]}))
        return
    for person in changed:
        click.echo(f"{_told(person)['token_id']} of {person.name} is {done}")


def _told(person: Person) -> dict[str, Any]:
    from acoustic.instant import instant_text
    from shotfix.api.people_file import token_id_of

    later = {"renewed": person.renewed_ns, "revoked": person.revoked_ns}
    return {
        "token_id": token_id_of(person),
        "name": person.name,
        "roles": list(person.roles),
        "created": instant_text(person.created_ns, 0),
        "expires": instant_text(person.expires_ns, 0),
    } | {key: None if at_ns is None else instant_text(at_ns, 0) for key, at_ns in later.items()}


def _site(config: Path) -> SiteConfig:
    """What the site's file says, of its people among others."""
    from shotfix.config_reading import read_site

    return read_site(config)


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
