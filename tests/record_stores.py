"""Records for tests: on SQLite, and on a PostgreSQL server of the tests' own.

`tests/conftest.py` offers the fixtures to every test; what they need is imported when one asks for it.
"""

# ruff: noqa: PLC0415  (as above)

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


def burst(name="a", time_s=0.0, **shot):
    """The alert of a burst: new, more-rounds, closed; of fewer revisions where nobody waits for it."""
    return list(_burst(name, time_s, tuple(shot.items())))


@functools.cache
def _burst(name, time_s, shot):
    from acoustic.instant import after
    from alerts.desk import Desk
    from tests.strategies import NIGHT_NS, fix_at

    desk, how = Desk(), dict(shot)
    said = [*desk.receive(fix_at(name, time_s, **how)), *desk.receive(fix_at(f"{name}2", time_s + 0.5, **how))]
    return (*said, *desk.tick(after(NIGHT_NS, time_s + 600.0)))


SUPERUSER = "shotfix"
FAST = "-c fsync=off -c full_page_writes=off"
SMALL = "-c shared_buffers=16MB -c max_connections=60 -c autovacuum=off -c jit=off -c log_min_messages=fatal"


@dataclass
class Server:
    """A running server; ``options`` go to it at every start."""

    programs: Path
    data: Path
    sockets: Path
    options: str
    made: set[str] = field(default_factory=set)
    free: list[str] = field(default_factory=list)

    def start(self) -> None:
        options = f"{self.options} -c listen_addresses= -c unix_socket_directories={self.sockets}"
        log = self.sockets / "log"
        as_nobody([self.programs / "pg_ctl", "-D", self.data, "-o", options, "-l", log, "-w", "-t", "60", "start"])

    def stop(self, mode: str = "immediate") -> None:
        as_nobody([self.programs / "pg_ctl", "-D", self.data, "-m", mode, "-w", "stop"])

    def kill(self) -> None:
        """As when the machine loses power, but for what its system still holds."""
        self.stop("immediate")

    def processes(self) -> list[int]:
        """Its own, the first of all first."""
        first = int((self.data / "postmaster.pid").read_text().split()[0])
        return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]

    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@/{database}?host={self.sockets}"

    def run(self, *statements: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    @contextmanager
    def database(self) -> Iterator[str]:
        """A fresh one; its address. One that waits in the cluster is emptied: to make another takes half a second."""
        name = self.free.pop() if self.free else f"t{uuid.uuid4().hex[:12]}"
        if name in self.made:
            self.run(ALONE, EMPTY, database=name)
        else:
            self.run(f"create database {name}")
            self.made.add(name)
        try:
            yield self.url(name)
        finally:
            self.free.append(name)


ALONE = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
EMPTY = """do $$ declare name text; begin
  for name in select nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema' loop
    execute format('drop schema %I cascade', name);
  end loop;
  create schema public;
end $$"""


def as_nobody(command: list[object]) -> None:
    """Run one of PostgreSQL's programs: they refuse to be root."""
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        words = ["runuser", "-u", "postgres", "--", *words]
    # A server that inherits our pipes would keep whoever reads them waiting.
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")


def postgres_programs() -> Path:
    """The folder of its programs; skips where there are none, or nobody to run them, which the build machine must."""
    found = [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)]
    found += [Path(path).parent for path in [shutil.which("initdb")] if path]
    reason = "" if found else "no PostgreSQL here: install Debian's postgresql package"
    if not reason and os.geteuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        reason = "PostgreSQL refuses to run as root, and there is no user postgres"
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found[0]


@contextmanager
def running_postgres(options: str = f"{FAST} {SMALL}") -> Iterator[Server]:
    """A cluster of our own, on a Unix socket only; gone afterwards, whatever happens."""
    programs = postgres_programs()
    # Short, since a socket's path holds a hundred letters; and not pytest's, which others may not enter.
    folder = Path(tempfile.mkdtemp(prefix="sfpg"))
    server = Server(programs, folder / "data", folder / "s", options)
    try:
        folder.chmod(0o755)
        server.sockets.mkdir(mode=0o777)
        server.sockets.chmod(0o777)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        made = [
            programs / "initdb",
            "-D",
            server.data,
            "-U",
            SUPERUSER,
            "-A",
            "trust",
            "-N",
            "-E",
            "UTF8",
            "--no-locale",
        ]
        as_nobody(made)
        server.start()
        try:
            yield server
        finally:
            if (server.data / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server():
    """One cluster for a test session, or for each of its workers."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server):
    """The address of a fresh database."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def record_where(request, tmp_path):
    """Where a fresh record may be made: a path, or an address."""
    if request.param == "sqlite":
        return tmp_path / "record.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def record_store(record_where):
    """A fresh record, on each database in turn."""
    from alerts.record.store import Store

    with Store(record_where) as store:
        yield store
