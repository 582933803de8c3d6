"""Checkpoints: the core's state at a position of the journal, so that a restart replays minutes, not months.

**Why pickle.** The state is a graph of some hundred kinds of objects (bangs that are still open, what was learnt of
each sensor, arrays of the kernels) which share parts of one another; a restart must continue with exactly that graph,
or the same messages would not give the same alerts. Writing it out by hand would be a second definition of every
class, wrong on the day the first one changes. A pickle also runs whatever code it names when it is read. So one is
read only from a folder and file that belong to the user we run as (or root) and that nobody else may write, and never
from a network, a node or a backup that was not verified; where that does not hold we refuse, and say what to change.

**At an upgrade** the stamp (versions of the program and of Python, hash of the configuration) differs, and no
checkpoint is used: the core is built anew by replaying the journal, from its last ``begin`` or, without one, from the
oldest entry kept. Checkpoints of other stamps are passed over, not deleted: going back to the old version finds them
again.

Files of some hundred megabytes are read into memory whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from pathlib import Path
from typing import Any, Final

from acoustic.instant import SECOND, check_instant, instant_text
from shotfix.disk import explained, make_folder, sync_folder, why_not_ours, write_whole
from shotfix.versions import versions

NEWEST_KEPT: Final = 3
DAYS_KEPT: Final = 7
SUFFIX: Final = ".checkpoint"
_ASIDE: Final = ".damaged"
_MAGIC: Final = b"shotfix-checkpoint 1\n"
_DAY_NS: Final = 86_400 * SECOND
_LONGEST_HEADER: Final = 64_000
_SUM_BYTES: Final = 64

_log = logging.getLogger(__name__)


class CheckpointError(Exception):
    """Checkpoints cannot be written, or must not be read; the message says what to do."""


def program_stamp(configuration: str) -> str:
    """What a state depends on: the versions of the program, its parts and Python, and the configuration's hash."""
    parts = [*(f"{name}={version}" for name, version in sorted(versions().items())), f"configuration={configuration}"]
    return " ".join(parts)


def save(
    folder: Path | str, position: int, stamp: str, state: object, *, at_ns: int, days_kept: int = DAYS_KEPT
) -> Path:
    """Keep the state that the core has after the entry at ``position``; then let go of checkpoints nobody needs.

    The last `NEWEST_KEPT` stay, and the first of each UTC day for ``days_kept`` days.

    Parameters
    ----------
    folder : Path
        Made when it is absent, for our eyes only.
    position : int
        Of the journal; it must be on the disk already (`Journal.end` or before).
    stamp : str
        What the state depends on, as `program_stamp` says it.
    state : object
        Anything that pickles.
    at_ns : int
        Wall clock, UTC.

    Returns
    -------
    Path
        The new file, readable by us alone.

    Raises
    ------
    CheckpointError
        When the disk refuses, others may write the folder, or the state does not pickle; what was there stays.
    """
    check_instant(at_ns, "at_ns")
    folder = Path(folder)
    try:
        content = pickle.dumps(state, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # what an object says that cannot be pickled can be anything
        raise CheckpointError(f"{folder}: the state does not pickle ({error}); a fault of ours, report it") from error
    facts = json.dumps({"position": position, "stamp": stamp, "at": instant_text(at_ns)}).encode() + b"\n"
    header = _MAGIC + _sum(facts, content) + b"\n" + facts
    path = folder / f"{position:020d}-{at_ns}{SUFFIX}"
    with explained(folder, CheckpointError):
        make_folder(folder)
        _check_ours(folder.parent, folder)
        write_whole(path, lambda stream: (stream.write(header), stream.write(content)))
        _let_go(folder, at_ns, days_kept)
    return path


def newest(folder: Path | str, stamp: str, not_after: int, *, tidy: bool = True) -> tuple[int, Any] | None:
    """The position and state of the newest checkpoint with this stamp, at or before the journal's end.

    A file that is damaged is passed over, and so is one that lies behind the journal's end: the journal was cut or
    replaced since, and will hold something else at that position. Both are set aside, under a name that ends in
    ``.damaged``, unless whoever asks only looks (not ``tidy``).

    Raises
    ------
    CheckpointError
        When somebody else could have written it, or the disk refuses.
    """
    folder = Path(folder)
    with explained(folder, CheckpointError):
        for path in reversed(_files(folder)):
            if _position(path) > not_after:
                _pass_over(path, f"lies behind the journal's end at {not_after}, which was cut or replaced", tidy=tidy)
                continue
            _check_ours(path.parent.parent, path.parent, path)
            facts, content = _parts(path.read_bytes())
            if facts is None or facts.get("position") != _position(path):
                _pass_over(path, "is damaged", tidy=tidy)
                continue
            if facts.get("stamp") != stamp:
                _log.info("%s: of another version or configuration, passed over", path)
                continue
            try:
                return _position(path), pickle.loads(content)  # noqa: S301  (ours alone, see above)
            except Exception:  # noqa: BLE001  (what a class says to a state that is not its own can be anything)
                _pass_over(path, "does not unpickle", tidy=tidy)
    return None


def kept(folder: Path | str) -> tuple[int, ...]:
    """The positions of the checkpoints that are there, ascending: the journal is needed from the first of them on."""
    return tuple(_position(path) for path in _files(Path(folder)))


def thin(folder: Path | str) -> int:
    """Let go of all but the last `NEWEST_KEPT`, where the journal that older ones need is too large; how many went.

    Raises
    ------
    CheckpointError
        When the disk refuses.
    """
    folder = Path(folder)
    with explained(folder, CheckpointError):
        files = _files(folder)[:-NEWEST_KEPT]
        for path in files:
            path.unlink(missing_ok=True)
        if files:
            sync_folder(folder)
    return len(files)


def damaged(folder: Path | str) -> int:
    """How many were found damaged and set aside, ever."""
    return sum(1 for _ in Path(folder).glob(f"*{_ASIDE}"))


def _files(folder: Path) -> list[Path]:
    found = [path for path in folder.glob(f"*{SUFFIX}") if _numbers(path) is not None]
    return sorted(found, key=lambda path: _numbers(path) or (0, 0))


def _numbers(path: Path) -> tuple[int, int] | None:
    """Position and instant, as the name says; None when it is no name of ours."""
    first, _, second = path.name.removesuffix(SUFFIX).partition("-")
    return (int(first), int(second)) if first.isdecimal() and second.isdecimal() else None


def _position(path: Path) -> int:
    return (_numbers(path) or (0, 0))[0]


def _sum(facts: bytes, content: bytes | memoryview) -> bytes:
    whole = hashlib.sha256(facts)
    whole.update(content)
    return whole.hexdigest().encode()


def _parts(content: bytes) -> tuple[dict[str, Any] | None, memoryview]:
    """What a file says of its state, None when it is damaged; and the state."""
    begin = len(_MAGIC) + _SUM_BYTES + 1
    end = content.find(b"\n", begin, _LONGEST_HEADER) + 1
    state = memoryview(content)[end:]
    if end == 0 or content[:begin] != _MAGIC + _sum(content[begin:end], state) + b"\n":
        return None, state
    facts = json.loads(content[begin:end])
    return (facts if isinstance(facts, dict) else None), state


def _check_ours(*paths: Path) -> None:
    for each in paths:
        why = "it is a link" if each.is_symlink() else why_not_ours(each.stat())
        if why is not None:
            raise CheckpointError(
                f"{each}: {why}, so it cannot be trusted; make it ours alone (chown to the user of the centre, "
                "chmod go-w), or move the checkpoints away to rebuild from the journal"
            )


def _pass_over(path: Path, why: str, *, tidy: bool) -> None:
    _log.warning("%s: %s; the one before is taken, or the journal from its beginning", path, why)
    if tidy:
        path.rename(path.with_name(path.name + _ASIDE))
        sync_folder(path.parent)


def _let_go(folder: Path, now_ns: int, days_kept: int) -> None:
    files = _files(folder)
    keep = set(files[-NEWEST_KEPT:])
    days: dict[int, Path] = {}
    for path in files:
        at_ns = (_numbers(path) or (0, 0))[1]
        if at_ns > now_ns - days_kept * _DAY_NS:
            days.setdefault(at_ns // _DAY_NS, path)
    for path in set(files) - keep - set(days.values()):
        path.unlink(missing_ok=True)
    sync_folder(folder)
