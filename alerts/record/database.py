"""The database under the record: an SQLite file or a PostgreSQL server, told apart here and nowhere above."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

READS: Final = "shotfix_reads"
"""Marks a connection that only reads."""
POOL: Final[Mapping[str, Any]] = {"pool_size": 6, "max_overflow": 18, "pool_timeout": 10.0}
"""Connections that stay, and how many more may come in a rush: each thread of a busy centre needs one at a time."""


class StoreError(Exception):
    """The record cannot be opened, read or written; the message says what to do."""


class UnreachableError(StoreError):
    """The server of the record does not answer just now: what was asked may be asked again."""


@dataclass(frozen=True, slots=True)
class Database:
    """Where a record lies, and how it is spoken to.

    Parameters
    ----------
    name : str
        A path, or an address without its password: may be shown.
    path : Path or None
        Of the file; None for a server.
    engine : Engine
        SQLAlchemy's.
    remedy : callable
        What to do about a driver's error: what it complains of and what to do, in words, and which error of ours it is.
    is_whole : callable
        Whether the transaction of a connection still is the one that was begun.
    """

    name: str
    path: Path | None
    engine: sa.Engine = field(repr=False)
    remedy: Callable[[BaseException], tuple[str, str, type[StoreError]]]
    is_whole: Callable[[sa.Connection], bool]

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that holds the only right to write, from its begin on; on the disk when this ends.

        Raises
        ------
        StoreError
            When the database refuses; nothing is written then, unless the answer to the commit itself was lost.
        """
        with self.explained(), self.engine.begin() as connection:
            yield connection
            self.check_whole(connection)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one committed state, the same until it ends, and holds up nobody.

        Raises
        ------
        StoreError
            When the database refuses.
        """
        with self.explained(), self.engine.execution_options(**{READS: True}).connect() as connection:
            yield connection
            if self.is_whole(connection):  # a rollback would cost the statements that a server has prepared
                connection.commit()

    def check_whole(self, connection: sa.Connection) -> None:
        """Refuse to go on in a transaction that the database gave up.

        A full disk makes SQLite give up the whole of it, and a lost server too: whoever caught that error must not have
        the rest committed as if it were all.
        """
        if not self.is_whole(connection):
            raise StoreError(f"{self.name}: the transaction was given up half-way; nothing was written, try again")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """What the database complains of, with what to do about it."""
        try:
            yield
        except sa.exc.TimeoutError as error:
            raise StoreError(f"{self.name}: all connections are in use; ask less at a time, or wait") from error
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            raise self.error(getattr(error, "orig", None) or error) from error
        except UnicodeDecodeError as error:  # of a name or a text in a file whose bits have flipped
            raise StoreError(
                f"{self.name}: it holds text that is none; it is damaged: keep it aside, and restore it from a backup"
            ) from error

    def error(self, cause: BaseException) -> StoreError:
        """The driver's error in our words."""
        complaint, remedy, kind = self.remedy(cause)
        return kind(f"{self.name}: {complaint}; {remedy}")

    def close(self) -> None:
        """Let go of it."""
        self.engine.dispose()


def is_url(where: Path | str) -> bool:
    """Whether a setting names a server."""
    return isinstance(where, str) and where.startswith(("postgresql:", "postgres:", "postgresql+psycopg:"))
