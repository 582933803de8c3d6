"""A backup: the copy of a centre while it runs, and a centre from the copy.

The order of copying makes the copy one that a killed centre could have left. Checkpoints first; then databases, which
hold all that the core of those checkpoints had said; the journal last, which holds all that the databases rest on. A
centre that starts from it replays what follows the checkpoint; alerts that are stored already are passed over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from acoustic.instant import instant_text
from alerts.record.heads import HEADS
from shotfix.backup_manifest import CONFIGURATION, DATA, DUMP, FORMAT, MANIFEST, BackupError, read_manifest
from shotfix.checkpoint import SUFFIX as CHECKPOINT
from shotfix.disk import explained, sync_folder, write_whole
from shotfix.segment import LOCK, SUFFIX, DamageError, JournalError, read_journal, segments, whole_bytes

_SQLITE: Final = b"SQLite format 3\x00"
_BESIDE: Final = ("-wal", "-shm", "-journal")
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: files, their bytes, up to which entry the journals reach, and where a server's record is.

    ``former`` is the schema that the server's former record lies in after it was replaced.
    """

    files: int
    size_bytes: int
    entries: int
    dump: str | None = None
    former: str | None = None


def backup(
    data_dir: Path | str,
    target: Path | str,
    configuration: Iterable[Path] = (),
    *,
    at_ns: int,
    server: str | None = None,
) -> Copied:
    """Copy a centre's data, which may be in use, into a new folder that appears when it is whole, or not at all.

    Parameters
    ----------
    data_dir : Path
        Of the centre.
    target : Path
        Must not exist. For our eyes only: it holds recordings and addresses, and of ``data_dir`` all but locks: also
        api.key, by which opaque names stay the same, and people.toml, which has digests of tokens and no token.
    configuration : iterable of Path
        Files to take along: site.toml, network.toml, its history. Secrets and keys elsewhere only where they are named
        here.
    at_ns : int
        Wall clock, UTC, for the manifest.
    server : str or None
        Address of the database that has the record, where ``data_dir`` has not: copied by pg_dump.

    Raises
    ------
    BackupError
        When there is nothing to copy, the target is there, the journal is damaged, or the disk refuses.
    StoreError
        When the server's record cannot be copied.
    """
    data_dir, target = Path(data_dir), Path(target)
    if not data_dir.is_dir():
        raise BackupError(f"{data_dir}: no such folder; name the data_dir of the centre")
    if target.exists():
        raise BackupError(f"{target}: exists; a backup goes into a folder of its own")
    partial = target.with_name(f"{target.name}.partial")
    with explained(target, BackupError):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700, parents=True)
        try:
            manifest = _copy_all(data_dir, partial, tuple(configuration), at_ns, server)
            write_whole(partial / MANIFEST, lambda file: file.write(json.dumps(manifest, indent=1).encode()))
            partial.rename(target)
            sync_folder(target.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return _copied(manifest)


def verify(source: Path | str) -> Copied:
    """Read a backup through: every file is there and is what was copied, and journals and databases are whole.

    Raises
    ------
    BackupError
        When anything is not, with the file.
    """
    source = Path(source)
    with explained(source, BackupError):
        manifest = read_manifest(source)
        for name, facts in manifest["files"].items():
            _check_file(source / name, name, facts)
        for folder in _folders_of(source, manifest, SUFFIX):
            try:
                end = max((entry.position for entry in read_journal(folder)), default=0)
            except JournalError as error:
                raise BackupError(str(error)) from None
            if end != manifest["journals"].get(folder.relative_to(source).as_posix()):
                raise BackupError(f"{folder}: ends at entry {end}, not where it was copied to; use another backup")
    return _copied(manifest)


def restore(
    source: Path | str,
    data_dir: Path | str,
    configuration: Path | str | None = None,
    *,
    server: str | None = None,
    replace: bool = False,
) -> Copied:
    """Put a backup where a centre can start from it. Everything is verified before anything is written.

    Parameters
    ----------
    source : Path
        As `backup` made it.
    data_dir : Path
        Must not exist, or be empty; no mount point.
    configuration : Path or None
        A folder for the configuration's files, none of which may be there; None leaves them in the backup.
    server : str or None
        Address of the database for the record that a server kept; None leaves it in the backup, at `Copied.dump`.
    replace : bool
        Also where that database has a record already, which stays there under another name.

    Raises
    ------
    BackupError
        When the backup is damaged, something is in the way, or the disk refuses.
    StoreError
        When the server's record cannot be put back; nothing is then.
    """
    source, data_dir = Path(source), Path(data_dir)
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise BackupError(f"{data_dir}: is not empty; move what is there away first")
    if data_dir.is_mount():
        raise BackupError(f"{data_dir}: a disk is mounted there, and gives its name to no folder; name one in it")
    copied, was_there = verify(source), data_dir.exists()
    if server is not None:
        _check_server(source, copied, server, replace=replace)
    partial = data_dir.with_name(f"{data_dir.name}.partial")
    with explained(data_dir, BackupError):
        files = read_manifest(source)["files"]
        places = _places(files, partial, configuration)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700, parents=True)
        try:
            for name, path in places.items():
                _put(source / name, path, files[name])
            partial.rename(data_dir)  # over an empty folder too
            sync_folder(data_dir.parent)
            if server is not None:  # last, since it alone cannot be taken back
                copied = dataclasses.replace(copied, former=_put_server(source, server, replace=replace))
        except BaseException:
            if not partial.exists():
                data_dir.rename(partial)
            shutil.rmtree(partial, ignore_errors=True)
            if was_there:
                data_dir.mkdir(mode=0o700, exist_ok=True)
            for path in places.values():  # none of which was there before
                path.unlink(missing_ok=True)
            raise
    return copied


# making


def _copy_all(
    data_dir: Path, partial: Path, configuration: tuple[Path, ...], at_ns: int, server: str | None
) -> dict[str, Any]:
    files: dict[str, dict[str, Any]] = {}
    journals: dict[str, int] = {}
    ordinary = sorted((_turn(path), path) for path in _ordinary(data_dir))
    _copy_each([path for turn, path in ordinary if turn == 0], data_dir, partial, files)
    if server is not None:
        files[DUMP] = _copy_server(server, partial / DUMP)
    _copy_each([path for turn, path in ordinary if turn > 0], data_dir, partial, files)
    for folder in sorted({path.parent for path in data_dir.rglob(f"*{SUFFIX}")}):
        name = f"{DATA}/{folder.relative_to(data_dir).as_posix()}"
        journals[name] = _copy_journal(folder, partial / name, name, files)
    for path in configuration:
        name = f"{CONFIGURATION}/{path.name}"
        if name in files:
            raise BackupError(f"{path}: another file of this name is in the backup; rename one")
        files[name] = _copy(path, partial / name)
    return {"format": FORMAT, "made_at": instant_text(at_ns, 0), "journals": journals, "files": files}


def _copy_each(paths: list[Path], data_dir: Path, partial: Path, files: dict[str, dict[str, Any]]) -> None:
    for path in paths:
        name = f"{DATA}/{path.relative_to(data_dir).as_posix()}"
        # What the centre let go of meanwhile is not missed: a checkpoint, a recording.
        with contextlib.suppress(FileNotFoundError):
            files[name] = _copy_database(path, partial / name) if _is_database(path) else _copy(path, partial / name)


def _copy_server(where: str, target: Path) -> dict[str, Any]:
    from alerts.record.server_copy import dump_server  # a driver that few have use for

    target.parent.mkdir(mode=0o700)
    dump_server(where, target)
    return _facts(target)


def _ordinary(data_dir: Path) -> Iterator[Path]:
    """Every file but the journals', locks, what SQLite keeps beside a database, and what is half written."""
    for path in data_dir.rglob("*"):
        if path.is_symlink() or not path.is_file() or path.name == LOCK or path.suffix == f".{LOCK}":
            continue
        if not path.name.endswith((SUFFIX, ".partial", *_BESIDE)):
            yield path


def _turn(path: Path) -> int:
    """Checkpoints first, then databases, then the rest; the ledger's heads must not know more than the ledger does."""
    if path.suffix == CHECKPOINT or path.name == HEADS:
        return 0
    return 1 if _is_database(path) else 2


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except FileNotFoundError:
        return False


def _copy_database(path: Path, target: Path) -> dict[str, Any]:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        # Read only, and of a file that is there: a copy must never make or change what it copies.
        with (
            contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30.0)) as ours,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            ours.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
            (said,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{path}: {error}; is it damaged? stop the centre and look at it") from error
    if said != "ok":
        raise BackupError(f"{path}: {said}; it is damaged, restore it from an earlier backup")
    target.chmod(0o600)
    return _facts(target)


def _copy_journal(folder: Path, target: Path, name: str, files: dict[str, dict[str, Any]]) -> int:
    """Copy the segments up to the last whole record; the position of that one."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    end = 0
    for number in range(3):  # retention may take the oldest away meanwhile
        try:
            kept = segments(folder)
            for path in kept:
                size = whole_bytes(path, last=path == kept[-1])
                files[f"{name}/{path.name}"] = _copy(path, target / path.name, size)
            end = max((entry.position for entry in read_journal(target)), default=0)
        except DamageError as error:
            raise BackupError(str(error)) from None
        except FileNotFoundError:
            if number == 2:
                raise
            for path in segments(target):
                del files[f"{name}/{path.name}"]
                path.unlink()
        else:
            break
    return end


def _copy(path: Path, target: Path, size: int | None = None) -> dict[str, Any]:
    """Copy a file, or its beginning, onto the disk; its size and SHA-256."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("rb") as source:
        left = os.fstat(source.fileno()).st_size if size is None else size

        def fill(file: BinaryIO) -> None:
            rest = left
            while rest and (piece := source.read(min(_PIECE, rest))):
                file.write(piece)
                rest -= len(piece)

        write_whole(target, fill)
    return _facts(target)


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


# reading


def _check_file(path: Path, name: str, facts: dict[str, Any]) -> None:
    if not path.is_file() or path.is_symlink():
        raise BackupError(f"{name}: is missing in the backup; use another one")
    if _facts(path) != {"bytes": facts["bytes"], "sha256": facts["sha256"]}:
        raise BackupError(f"{name}: is not what was copied, the backup is damaged; use another one")


def _folders_of(source: Path, manifest: dict[str, Any], suffix: str) -> list[Path]:
    return sorted({(source / name).parent for name in manifest["files"] if name.endswith(suffix)})


def _places(files: Iterable[str], partial: Path, configuration: Path | str | None) -> dict[str, Path]:
    """Where the files of a backup go, by name."""
    places = {name: partial / name.removeprefix(f"{DATA}/") for name in files if name.startswith(f"{DATA}/")}
    if configuration is not None:
        wanted = {name: Path(configuration) / Path(name).name for name in files if name.startswith(f"{CONFIGURATION}/")}
        for path in wanted.values():
            if path.exists():
                raise BackupError(f"{path}: exists; move it away, or leave the configuration in the backup")
        places |= wanted
    return places


def _check_server(source: Path, copied: Copied, where: str, *, replace: bool) -> None:
    if copied.dump is None:
        raise BackupError(f"{source}: no server kept the record that is in it; leave the server's address out")
    from alerts.record.server_copy import check_restorable

    check_restorable(where, source / copied.dump, replace=replace)


def _put_server(source: Path, where: str, *, replace: bool) -> str | None:
    from alerts.record.server_copy import restore_server

    return restore_server(where, source / DUMP, replace=replace)


def _put(source: Path, target: Path, facts: dict[str, Any]) -> None:
    if _copy(source, target)["sha256"] != facts["sha256"]:
        raise BackupError(f"{source}: changed while it was read; use another backup")


def _copied(manifest: dict[str, Any]) -> Copied:
    files = manifest["files"]
    size_bytes = sum(facts["bytes"] for facts in files.values())
    entries = max(manifest["journals"].values(), default=0)
    return Copied(len(files), size_bytes, entries, DUMP if DUMP in files else None)
