"""A record on a PostgreSQL server: one writer at a time, and each commit on the server's disk when it is answered."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from alerts.record.database import POOL, READS, Database, StoreError, UnreachableError

WRITE_RIGHT: Final = 0x5348_4F54_4649_58  # "SHOTFIX"
"""The advisory lock that whoever writes holds until its commit is visible. Numbers are taken under it: so they have no
gap, and their order is that of the commits."""

LOCK_TIMEOUT_MS: Final = 10_000
STATEMENT_TIMEOUT_MS: Final = 60_000
WRITE_PATIENCE_S: Final = 30.0
"""A server that says nothing for so long while it is written to is taken for one that hangs: alerts wait behind it."""
READ_PATIENCE_S: Final = 75.0
"""While it is only read: longer than the server itself lets a statement take."""
IDLE_TIMEOUT_MS: Final = 120_000
"""A session that dies with a transaction open (its machine lost power) is ended by the server after so long."""

_CONNECT: Final = {
    "connect_timeout": 5,
    # A cable that is cut says nothing: these make it an error within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "shotfix",
}

_AWAY: Final = ("08", "57P", "53300")
READS_ONLY: Final = "25006"
# SQLSTATE, or the class that its first two letters are: PostgreSQL, appendix A.
_REMEDIES: Final = {
    "08": "check that the server runs, and the host and port of the record",
    "28": "check the user and the password of the record",
    "3D": "make the database first, or name another",
    "3F": "make the schema first, or name another",
    "42501": "give the record's user the right to do this: it should own its database",
    READS_ONLY: "it only reads just now, as a standby does: name the one that writes, or see who set it so",
    "53100": "the server's disk is full: make room, nothing was lost",
    "53300": "the server has no connection left: raise its max_connections, or stop what holds them",
    "55P03": "another program holds the right to write: stop that one, or wait",
    "57014": "the server took too long: look at its load",
    "57P": "the server was stopped: it is tried again when it is back",
    "58": "the server's disk fails: look at its log",
    "XX": "it is damaged: keep it aside, and restore it from a backup",
    "P0001": "what is written there stays; retention is the way to let go of what is old",
}


def open_postgres(where: str) -> Database:
    """The database that an address names; nothing is asked of the server yet.

    Connections keep settings of their own: a proxy between must give each client one for as long as it stays.

    Raises
    ------
    StoreError
        When it is no address.
    """
    url = address_of(where)
    return Database(_shown(url), None, _engine(url), remedy, _is_whole)


def address_of(where: str) -> sa.URL:
    """The address in its parts, the password where a password belongs.

    Raises
    ------
    StoreError
        When it is none.
    """
    try:
        url = sa.make_url(where).set(drivername="postgresql+psycopg")
    except (sa.exc.ArgumentError, ValueError):  # its text holds the password
        raise StoreError(
            "the record's address cannot be read; write it as postgresql://user:password@host:port/database"
        ) from None
    secret = url.query.get("password")
    if isinstance(secret, str):
        url = url.difference_update_query(["password"]).set(password=url.password or secret)
    return url


def remedy(cause: BaseException) -> tuple[str, str, type[StoreError]]:
    """What the server complains of, and what to do. Its details are left out: they hold what was to be written."""
    state = getattr(cause, "sqlstate", None) or _connecting(str(cause))
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    complaint = " ".join((primary or str(cause)).split())
    kind = UnreachableError if state.startswith(_AWAY) else StoreError
    for length in (5, 3, 2):
        if state[:length] in _REMEDIES:
            return complaint, _REMEDIES[state[:length]], kind
    return complaint, f"report this, with the code {state}", kind


def _connecting(complaint: str) -> str:
    """The code of a refusal while connecting, which comes without; that of nobody there where it says nothing else."""
    for sign, state in (("authentication", "28"), ("password", "28"), ("does not exist", "3D"), ("too many", "53300")):
        if sign in complaint:
            return state
    return "57P" if "starting up" in complaint or "shutting down" in complaint else "08"


def _shown(url: sa.URL) -> str:
    """The address without its password, and without its query, which may hold one too."""
    bare = sa.URL.create("postgresql", username=url.username, host=url.host, port=url.port, database=url.database)
    host = url.query.get("host", "")
    return bare.render_as_string() if url.host or not isinstance(host, str) else f"{bare} at {host}"


def _is_whole(connection: sa.Connection) -> bool:
    if connection.invalidated or connection.closed:
        return False
    driver: Any = connection.connection.driver_connection
    return not driver.closed and driver.info.transaction_status.name == "INTRANS"


def _engine(url: sa.URL) -> sa.Engine:
    from psycopg import IsolationLevel  # the driver is paid for by who uses it

    # Pinged before use: a server that was restarted in between is met anew, by nobody's error.
    engine = sa.create_engine(url, connect_args=dict(_CONNECT), pool_pre_ping=True, hide_parameters=True, **POOL)

    @sa.event.listens_for(engine, "do_connect")
    def _connect(_: object, __: object, words: Any, names: Any) -> Any:
        from alerts.record.patience import PatientConnection  # the driver is paid for by who uses it

        return PatientConnection.connect(*words, **names)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:
        before, connection.autocommit = connection.autocommit, True
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false),"
            f" set_config('lock_timeout', '{LOCK_TIMEOUT_MS}', false),"
            f" set_config('statement_timeout', '{STATEMENT_TIMEOUT_MS}', false),"
            f" set_config('idle_in_transaction_session_timeout', '{IDLE_TIMEOUT_MS}', false),"
            # A plan that was made while the tables were small would be kept while they grow, and read them all.
            " set_config('plan_cache_mode', 'force_custom_plan', false)"
        )
        connection.autocommit = before

    @sa.event.listens_for(engine, "handle_error")
    def _let_go(context: sa.ExceptionContext) -> None:
        # A session that began while the server only read goes on doing so; another may be led to the one that writes.
        if getattr(context.original_exception, "sqlstate", None) == READS_ONLY:
            context.is_disconnect = True

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        driver: Any = connection.connection.driver_connection
        if connection.get_execution_options().get(READS):
            driver.patience_s = READ_PATIENCE_S
            driver.isolation_level, driver.read_only = IsolationLevel.REPEATABLE_READ, True  # said by its own BEGIN
        else:
            driver.patience_s = WRITE_PATIENCE_S
            driver.isolation_level = driver.read_only = None
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_RIGHT})")

    return engine
