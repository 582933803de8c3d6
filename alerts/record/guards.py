"""Guards in the database itself: the ledger and the access log refuse to be changed, by whichever program.

They stop mistakes, and whoever may write but not alter tables. Who owns the database can take them away: that is what
the chain of digests, and heads kept elsewhere, are for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from alerts.record import tables

if TYPE_CHECKING:
    from collections.abc import Iterable

RETIRING: Final = "access-retired-before"
"""While `meta` holds this, with an instant in ns, older rows of the access log may go; written and removed again within
the one transaction that retires them."""

_SQLITE: Final = (
    """create trigger ledger_stays_update before update on ledger
       begin select raise(abort, 'the ledger is only ever added to'); end""",
    """create trigger ledger_stays_delete before delete on ledger
       begin select raise(abort, 'the ledger is only ever added to'); end""",
    """create trigger access_stays_update before update on access
       begin select raise(abort, 'the access log is only ever added to'); end""",
    """create trigger access_stays_delete before delete on access
       when old.at_ns >= coalesce(
         (select cast(value as integer) from meta where key = 'access-retired-before'), old.at_ns
       )
       begin select raise(abort, 'the access log is only ever added to'); end""",
)

_POSTGRES: Final = (
    """create or replace function shotfix_stays() returns trigger language plpgsql as $$
       begin raise exception 'the % is only ever added to', tg_argv[0]; end $$""",
    """create or replace function shotfix_access_stays() returns trigger language plpgsql as $$
       begin
         if old.at_ns < (select cast(value as bigint) from meta where key = 'access-retired-before') then
           return old;
         end if;
         raise exception 'the access log is only ever added to';
       end $$""",
    """create trigger ledger_stays before update or delete on ledger
       for each row execute function shotfix_stays('ledger')""",
    """create trigger ledger_stays_whole before truncate on ledger
       for each statement execute function shotfix_stays('ledger')""",
    """create trigger access_stays_update before update on access
       for each row execute function shotfix_stays('access log')""",
    """create trigger access_stays_delete before delete on access
       for each row execute function shotfix_access_stays()""",
    """create trigger access_stays_whole before truncate on access
       for each statement execute function shotfix_stays('access log')""",
)


def put_guards(connection: sa.Connection) -> tuple[str, ...]:
    """Put in place those that are missing, in the transaction of the caller; which they were."""
    missing, on_server = missing_guards(connection), connection.dialect.name != "sqlite"
    if missing:
        for statement in _POSTGRES if on_server else _SQLITE:
            _put(connection, statement, missing, on_server=on_server)
    return missing


def _put(connection: sa.Connection, statement: str, missing: tuple[str, ...], *, on_server: bool) -> None:
    words = statement.split()
    if words[1] == "trigger":
        name, table = words[2], words[words.index("on") + 1]
        if name not in missing:
            return
        if on_server:  # one that was switched off is there, and missed all the same
            connection.exec_driver_sql(f"drop trigger if exists {name} on {table}")
    connection.exec_driver_sql(statement.replace("%", "%%") if on_server else statement)


def missing_guards(connection: sa.Connection) -> tuple[str, ...]:
    """Names of guards that somebody took away."""
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql("select name from sqlite_master where type = 'trigger'")
        wanted = _names(_SQLITE)
    else:
        query = "select tgname from pg_trigger where tgrelid in (to_regclass('ledger'), to_regclass('access'))"
        found = connection.exec_driver_sql(f"{query} and tgenabled <> 'D'")
        wanted = _names(_POSTGRES)
    there = set(found.scalars())
    return tuple(name for name in wanted if name not in there)


def _names(statements: Iterable[str]) -> list[str]:
    return [words[2] for words in map(str.split, statements) if words[1] == "trigger"]


def let_access_go(connection: sa.Connection, before_ns: int) -> int:
    """Remove rows of the access log older than an instant; how many went."""
    meta, access = tables.meta, tables.access
    connection.execute(sa.insert(meta), {"key": RETIRING, "value": str(before_ns)})
    gone = connection.execute(sa.delete(access).where(access.c.at_ns < before_ns)).rowcount
    connection.execute(sa.delete(meta).where(meta.c.key == RETIRING))
    return gone
