"""A journal replayed: the alerts of those days again, byte for byte, by whoever doubts them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from acoustic.instant import instant_text
from alerts.alert import Alert, encode
from shotfix.charter import Charter, CharterError
from shotfix.checkpoint import kept, newest
from shotfix.entries import Replayed, alerts_again
from shotfix.journal import read_journal
from shotfix.segment import JournalError, first_position, segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shotfix.core import Core

ALERTS: Final = "alerts.jsonl"
SUMMARY: Final = "replay.json"
CHARTER: Final = "charter.json"
"""In a centre's folder: what its core was last built from, where the journal's beginning has been let go."""


def replay_journal(data: Path, out: Path, progress: Callable[[float], None] | None = None) -> dict[str, Any]:
    """Replay what a centre's folder holds, and write the alerts into another folder.

    Parameters
    ----------
    data : Path
        The centre's ``data_dir``, or a backup of it; nothing in it is changed, and the centre may run.
    out : Path
        Takes alerts.jsonl, every revision of every alert in order, and replay.json.
    progress : callable or None
        Takes how many entries were taken since it was last called.

    Returns
    -------
    dict
        What is in replay.json: counts, positions and times of the first and last entry.

    Raises
    ------
    JournalError
        When there is no journal, it was changed, or it begins with nothing to start from.
    """
    folder = data / "journal"
    kept = segments(folder)
    if not kept:
        raise JournalError(f"{folder}: no journal; name the data folder of a centre that has run")
    replayed = Replayed()
    alerts = 0
    with (out / ALERTS).open("wb") as stream:
        for alert in _alerts(data, folder, first_position(kept[0]), replayed, progress or (lambda _entries: None)):
            stream.write(encode(alert) + b"\n")
            alerts += 1
    found = {
        "alerts": alerts,
        "entries": replayed.entries,
        "first_entry": replayed.first,
        "last_entry": replayed.last,
        "first_utc": instant_text(replayed.first_ns) if replayed.entries else None,
        "last_utc": instant_text(replayed.last_ns) if replayed.entries else None,
    }
    (out / SUMMARY).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def _alerts(
    data: Path, folder: Path, first: int, replayed: Replayed, progress: Callable[[float], None]
) -> Iterator[Alert]:
    entries = read_journal(folder, first - 1)
    head = next(entries, None)
    if head is None:
        return
    if head.kind == "begin":
        core, charter = None, None
        entries = read_journal(folder, first - 1)
    else:
        position, core, charter = _checkpoint(data)
        entries = read_journal(folder, position)
    yield from alerts_again(replayed.counting(entries, progress), core, charter)


def _checkpoint(data: Path) -> tuple[int, Core, Charter]:
    """The oldest state that is kept, where the beginning of the journal is not."""
    try:
        charter = Charter.decode((data / CHARTER).read_bytes())
    except (OSError, CharterError):
        raise JournalError(f"{data}: the journal's beginning was let go, and there is no {CHARTER}") from None
    checkpoints = data / "checkpoints"
    for position in kept(checkpoints):
        found = newest(checkpoints, charter.stamp, position, tidy=False)
        if found is not None:
            return found[0], found[1], charter
    raise JournalError(
        f"{data}: the journal's beginning was let go, and no checkpoint is of this version and configuration"
    )
