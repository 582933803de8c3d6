"""Copies of a server's record by PostgreSQL's own programs: made by ``pg_dump``, put back by ``pg_restore``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from alerts.record import opening, tables
from alerts.record.backup import check_target, sync
from alerts.record.database import Database, StoreError
from alerts.record.postgres import WRITE_RIGHT, address_of, open_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

_INSTALL: Final = "install PostgreSQL's client programs, of the server's version"
_HOLDS_ALERTS: Final = re.compile(r"^\d+; \d+ \d+ TABLE DATA (.+) alert ", re.MULTILINE)
"""The line of a copy's list that names the schema which the record lies in."""
_OF_THE_SCHEMA: Final = re.compile(r"\d+; \d+ \d+ (COMMENT - )?SCHEMA ")
"""Lines about that schema itself, which is there already: it may be ``public``, and another's."""
_OTHERS: Final = """
    select count(*) from pg_stat_activity
    where datname = current_database() and application_name = 'shotfix' and pid <> pg_backend_pid()
"""
_SECRETS: Final = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"})
"""What libpq (PostgreSQL 18, 32.1.2) takes in an address and nobody else should read."""
_STAYS: Final = "select set_config(name, '0', false) from pg_settings where name = 'idle_session_timeout'"
"""PostgreSQL 14 and later; earlier ones end none."""
_LOOKS: Final = 20
_LOOK_S: Final = 0.1


def dump_server(where: str, target: Path) -> None:
    """Copy a server's record into a file of ``pg_dump``: the whole schema that it lies in, with its guards.

    Guards are functions of the schema, which ``pg_dump`` leaves out when it is asked for tables alone.

    Raises
    ------
    StoreError
        When the target is there, the server does not answer, the program is not installed, or fails.
    """
    check_target(target)
    program = _program("pg_dump")
    _login(where)
    wanted = f"--schema={_quoted(_schema_of(where))}"  # without the marks it would be a pattern
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))  # never open to others
        _run([program, "--format=custom", wanted, f"--file={partial}"], where, "look at the server")
        sync(partial)
        partial.rename(target)
        sync(target.parent)
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror}; make room, or check its permissions") from error
    finally:
        partial.unlink(missing_ok=True)


def restore_server(where: str, copy: Path, *, replace: bool = False) -> str | None:
    """Put a copy of `dump_server` back into a database: whole, or not at all.

    The right to write is held meanwhile: a centre that starts then waits, and makes no record of its own in the room
    that was made. Where this process is killed in between, nobody gives a former record its name back: it lies whole in
    the schema ``<schema>_before_<UTC>``.

    All of it belongs to the user of the address then; rights that other users had are to be granted anew. A copy holds
    statements, which are run: put back none from a place that you do not trust.

    Parameters
    ----------
    where : str
        The address of the database, which is there.
    copy : Path
        The file.
    replace : bool
        Also where there is a record already, which is not removed: its schema gets another name.

    Returns
    -------
    str or None
        The schema that the former record lies in now; None where there was none.

    Raises
    ------
    StoreError
        As `check_restorable`, or when the server refuses; the database is then as it was. Where that could not be done,
        the error says in which schema the former record lies.
    """
    schema = check_restorable(where, copy, replace=replace)
    with closing(open_postgres(where)) as database, _right_to_write(database) as connection:
        _check_database(database, schema, replace=replace)  # anew: before, somebody may have made a record
        _await_alone(database)
        former = _make_room(database, connection, schema)
        try:
            _put(where, copy)
        except BaseException as error:
            if former is not None:
                _give_room_back(database, connection, schema, former, error)
            raise
    return former


def check_restorable(where: str, copy: Path, *, replace: bool = False) -> str:
    """Look whether `restore_server` can do its work, before anything is changed; the schema that it goes into.

    Raises
    ------
    StoreError
        When the program is not installed or older than the server, the file is no copy of a record, the address holds
        what a command must not show, or the database is in use, another program's, or holds a record that nobody said
        to replace.
    """
    _login(where)
    listing = _list(copy)
    found = _HOLDS_ALERTS.search(listing)
    if found is None:
        raise StoreError(f"{copy}: holds no record of alerts; name a copy that shotfix made")
    schema = found[1]
    with closing(open_postgres(where)) as database:
        _check_database(database, schema, replace=replace)
        _await_alone(database)
    return schema


def _check_database(database: Database, schema: str, *, replace: bool) -> None:
    with database.reading() as connection:
        version = int(connection.exec_driver_sql("show server_version_num").scalar_one()) // 10_000
        if (ours := _version()) < version:
            raise StoreError(f"pg_restore {ours} is older than the server, which is {version}: {_INSTALL}")
        _check_path(database, connection, schema, or_none=True)
        names, facts = opening.facts_of(connection)
        if names and facts.get("application") != tables.APPLICATION:
            raise StoreError(f"{database.name}: this is another program's database; name an empty one")
        if names and not replace:
            raise StoreError(
                f"{database.name}: there is a record already; name an empty database, or say --replace, which keeps it "
                "there under another name"
            )


@contextmanager
def _right_to_write(database: Database) -> Iterator[sa.Connection]:
    """A session that holds the right to write from one transaction to the next, until the database is closed."""
    with database.explained(), database.engine.connect() as connection:
        with connection.begin():
            connection.exec_driver_sql("set application_name = 'shotfix restore'")  # itself it is none of the others
            connection.exec_driver_sql(f"select pg_advisory_lock({WRITE_RIGHT})")
            # It says nothing for as long as the program works: a server that ends such sessions must not end this one.
            connection.exec_driver_sql(_STAYS)
        yield connection


def _await_alone(database: Database) -> None:
    """Let sessions that were ended just now go; refuse while others stay."""
    for _ in range(_LOOKS):
        with database.reading() as connection:
            if not connection.exec_driver_sql(_OTHERS).scalar_one():
                return
        time.sleep(_LOOK_S)
    raise StoreError(f"{database.name}: a centre uses it; stop that one first")


def _check_path(database: Database, connection: sa.Connection, schema: str, *, or_none: bool = False) -> None:
    """Refuse an address from which the record would not be found in its schema."""
    found = connection.exec_driver_sql("select current_schema()").scalar()
    if found != schema and not (or_none and found is None):
        raise StoreError(
            f"{database.name}: the copy is of the schema {schema}, and this address leads to {found}; "
            f"add options=-csearch_path%3D{schema} behind its ?"
        )


def _make_room(database: Database, connection: sa.Connection, schema: str) -> str | None:
    """An empty schema; the name of the one that had been there, unless that was empty."""
    former, quoted = None, _quoted(schema)
    with connection.begin():
        if opening.facts_of(connection)[0]:
            former = f"{schema}_before_{datetime.now(UTC):%Y%m%d_%H%M%S}"
            aside = _quoted(former)
            connection.exec_driver_sql(f"alter schema {quoted} rename to {aside}")
        connection.exec_driver_sql(f"create schema if not exists {quoted}")
        _check_path(database, connection, schema)
    return former


def _give_room_back(
    database: Database, connection: sa.Connection, schema: str, former: str, first: BaseException
) -> None:
    quoted, aside = _quoted(schema), _quoted(former)
    try:
        with database.explained(), connection.begin():
            connection.exec_driver_sql(f"drop schema {quoted}")
            connection.exec_driver_sql(f"alter schema {aside} rename to {quoted}")
    except StoreError as error:
        raise StoreError(
            f"{str(first) or type(first).__name__}; and the record that was there could not be given its place back "
            f"({error}): it is whole, in the schema {former} of the same database; look at what is in {schema}, remove "
            f"that schema, and rename {former} to {schema}"
        ) from first


def _put(where: str, copy: Path) -> None:
    listing = [line for line in _list(copy).splitlines() if not _OF_THE_SCHEMA.match(line)]
    with tempfile.NamedTemporaryFile("w", prefix="shotfix-", encoding="utf-8") as wanted:
        wanted.write("\n".join(listing))
        wanted.flush()
        command = [
            _program("pg_restore"), "--no-owner", "--no-privileges", "--single-transaction",
            f"--use-list={wanted.name}", str(copy.absolute()),
        ]  # fmt: skip
        _run(command, where, "nothing was changed; look at the server, and whether its version is the program's")


def _list(copy: Path) -> str:
    """What is in a copy."""
    if not copy.is_file():
        raise StoreError(f"{copy}: no such file; name the copy to put back")
    words = f"is {copy} a copy made by shotfix, whole, and by no newer pg_dump than this? {_INSTALL}"
    return _run([_program("pg_restore"), "--list", str(copy.absolute())], None, words)


def _version() -> int:
    said = re.search(r"\d+", _run([_program("pg_restore"), "--version"], None, _INSTALL))
    return 0 if said is None else int(said[0])


def _program(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        raise StoreError(f"{name} is not installed: {_INSTALL}")
    return program


def _run(command: list[str], where: str | None, remedy: str) -> str:
    """Run one of PostgreSQL's programs, on the database of an address if one is given; what it says."""
    secret: dict[str, str] = {}
    if where is not None:
        bare, secret = _login(where)
        command = [command[0], f"--dbname={bare}", *command[1:]]
    done = subprocess.run(command, check=False, capture_output=True, env=os.environ | secret)
    if done.returncode != 0:
        # The lines that follow an error may hold what was to be written.
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it failed"]
        said = next((line for line in lines if "error: " in line), lines[-1]).rpartition("error: ")[2]
        raise StoreError(f"{Path(command[0]).name}: {said}; {remedy}")
    return done.stdout.decode(errors="replace")


def _login(where: str) -> tuple[str, dict[str, str]]:
    """An address for a command, whose words everybody may read; the password goes by the environment."""
    url = address_of(where)
    bare = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    if shown := sorted(_SECRETS & bare.query.keys()):
        raise StoreError(
            f"the record's address: everybody could read its {shown[0]} in the words of PostgreSQL's programs; say the "
            "password once, before the @, and other secrets in a service file of libpq, named by ?service=NAME"
        )
    return bare.render_as_string(), {} if url.password is None else {"PGPASSWORD": str(url.password)}


def _quoted(name: str) -> str:
    marked = name.replace('"', '""')
    return f'"{marked}"'


def _schema_of(where: str) -> str:
    """The schema that a server's record lies in."""
    with closing(open_postgres(where)) as database, database.reading() as connection:
        name: str | None = connection.exec_driver_sql("select current_schema()").scalar()
    if name is None:
        raise StoreError(f"{database.name}: there is no schema to copy; name the record's database")
    return name
