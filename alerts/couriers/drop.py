"""A drop: alerts as files in a folder, and a map of the last day's incidents, for whoever reads files."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import threading
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from acoustic.instant import SECOND
from alerts.alert import Alert, decode
from alerts.delivery import HOUR_S, Receipt
from alerts.words import plain, radio_line

if TYPE_CHECKING:
    from datetime import tzinfo

    from alerts.delivery import Delivery

MAP: Final = "current.geojson"
DAY_NS: Final = round(24 * HOUR_S) * SECOND
MOST_FILES: Final = 100_000
LONGEST_NS: Final = 30 * DAY_NS
MOST_INCIDENTS: Final = 500
"""On the map; the latest. It is written anew with each alert, so that a stormy night must not make it grow for ever."""
LARGEST_BYTES: Final = 16 * 1024 * 1024
"""Of what is read again at the start: no alert is nearly so large."""
SWEEP_NS: Final = round(HOUR_S) * SECOND
MODE: Final = 0o640
"""Who may read: the owner and the folder's group, and nobody else."""

_PARTIAL: Final = ".partial"
_REMEDIES: Final = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or raise the quota",
    errno.EROFS: "it is mounted for reading only",
    errno.EACCES: "check who may write there",
    errno.EPERM: "check who may write there",
    errno.ENOENT: "make the folder, or mount what should be there",
    errno.ENOTDIR: "it is no folder: name one",
    errno.EIO: "the disk is failing: look at the system's log",
    errno.ESTALE: "mount it anew",
    errno.EISDIR: "a folder has the name of a file of ours: take it away",
    errno.ENXIO: "something that is no file has the name of one of ours: take it away",
    errno.ELOOP: "a link has the name of a file of ours: take it away",
}


@dataclass(frozen=True, slots=True)
class _Standing:
    """An alert as it stands: its last revision, when that was queued, and what the map shows of it."""

    revision: int
    queued_ns: int
    features: tuple[dict[str, Any], ...]


class Drop:
    """A courier that writes files: each revision as ``<alert_id>-r<revision>.json``, and the map `MAP`.

    A file appears whole or not at all, and is on the disk when the receipt says so; it holds the alert exactly as it
    was stored. The map is an RFC 7946 feature collection of the incidents of which something was told within a day, as
    they stand: a cancelled one is gone from it, since a map that is drawn as it is must not show what was withdrawn;
    that it was stands in its own file. Each feature has the property ``line``: the alert in one line for the radio. The
    map is written after the file and before the receipt, and only then: in quiet hours it is as old as the last alert,
    hence whoever draws it looks at the times in it.

    Files older than ``longest_ns``, and the oldest beyond ``most_files``, are swept; only names of this form are
    touched. A folder that is missing is not made: an unmounted disk must not be written under.

    Parameters
    ----------
    name : str
        As the outbox knows it.
    folder : Path
        Where to; exists.
    zone : tzinfo
        Of the clock that people there read.
    most_files, longest_ns
        How many revisions are kept, and for how long after they were queued.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        zone: tzinfo = UTC,
        most_files: int = MOST_FILES,
        longest_ns: int = LONGEST_NS,
    ) -> None:
        if most_files < 1 or longest_ns < 1:
            raise ValueError(f"a drop keeps 1 file or more, for some time: not {most_files}, for {longest_ns} ns")
        self.swept = 0
        """Files that were let go of."""
        self._name = name
        self._folder = folder
        self._zone = zone
        self._most_files = most_files
        self._longest_ns = longest_ns
        self._one = threading.Lock()  # the map is one file
        self._standing: dict[str, _Standing] | None = None
        self._files = 0
        self._swept_ns: int | None = None

    def __repr__(self) -> str:
        return f"Drop({self._name!r}, {str(self._folder)!r})"

    @property
    def name(self) -> str:
        """As the outbox knows it."""
        return self._name

    def close(self) -> None:
        """Nothing is held open."""

    def deliver(self, delivery: Delivery, now_ns: int) -> Receipt:
        """Write the file and the map; whatever goes wrong is in the receipt, with what to do."""
        try:
            alert = decode(delivery.document)
        except ValueError as error:
            return Receipt(delivered=False, detail=f"not written: {plain(str(error))}")
        # What is checked by its form above can be no path.
        if alert.message_id != delivery.message_id:
            return Receipt(delivered=False, detail=f"not written: the document is that of {alert.message_id}")
        try:
            with self._one:
                self._write(alert, delivery, now_ns)
        except OSError as error:
            return Receipt(delivered=False, detail=self._complaint(error), unanswered=True)
        return Receipt(delivered=True, detail="written")

    def _write(self, alert: Alert, delivery: Delivery, now_ns: int) -> None:
        if self._standing is None:
            self._standing = self._recall(now_ns)
        path = self._folder / f"{delivery.message_id}.json"
        if not _holds(path, delivery.document):
            self._files += not os.path.lexists(path)
            _write_whole(path, delivery.document, delivery.queued_ns)
        self._note(self._standing, alert, delivery.queued_ns)
        self._draw(self._standing, now_ns)
        if self._files > self._most_files or self._swept_ns is None or now_ns - self._swept_ns >= SWEEP_NS:
            self._swept_ns = now_ns
            self._sweep(path.name, now_ns)

    # the map

    def _note(self, standing: dict[str, _Standing], alert: Alert, queued_ns: int) -> None:
        known = standing.get(alert.alert_id)
        if known is None or known.revision < alert.revision:
            features = () if alert.status == "cancelled" else self._features(alert)
            standing[alert.alert_id] = _Standing(alert.revision, queued_ns, features)

    def _draw(self, standing: dict[str, _Standing], now_ns: int) -> None:
        for alert_id in [key for key, one in standing.items() if now_ns - one.queued_ns > DAY_NS]:
            del standing[alert_id]
        latest = sorted((one for one in standing.values() if one.features), key=lambda one: one.queued_ns)
        shown = latest[-MOST_INCIDENTS:]
        features = [feature for one in shown for feature in one.features]
        collection = {"type": "FeatureCollection", "features": features, "left_out": len(latest) - len(shown)}
        content = json.dumps(collection, ensure_ascii=False, separators=(",", ":")).encode()
        path = self._folder / MAP
        if not _holds(path, content):
            _write_whole(path, content, now_ns)

    def _recall(self, now_ns: int) -> dict[str, _Standing]:
        """What earlier lives left: how the incidents stand that are not a day old.

        Whatever else lies there, or cannot be read, is passed over: it must not stop the alerts that are still to come.
        """
        standing: dict[str, _Standing] = {}
        found = self._revisions()
        self._files = len(found)
        for path, told_ns in found:
            # Reading all of a month would delay the first alert; the day's are enough, and what a clock gone wrong
            # dated a day ahead is none of it.
            if abs(now_ns - told_ns) > DAY_NS:
                continue
            with contextlib.suppress(ValueError, OSError):  # somebody else's
                self._note(standing, decode(_regular(path)), told_ns)
        for partial in self._folder.glob(f"*{_PARTIAL}"):
            with contextlib.suppress(OSError):  # a folder, or not ours to remove: who writes there will say so
                partial.unlink(missing_ok=True)
        return standing

    # old files

    def _revisions(self) -> list[tuple[Path, int]]:
        """Files of ours with when each was queued, the oldest first."""
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                stem, _, number = entry.name.removesuffix(".json").rpartition("-r")
                if entry.name.endswith(".json") and stem and number.isdigit():
                    with contextlib.suppress(OSError):
                        if entry.is_file(follow_symlinks=False):
                            found.append((Path(entry.path), entry.stat(follow_symlinks=False).st_mtime_ns))
        return sorted(found, key=lambda one: (one[1], one[0].name))

    def _sweep(self, besides: str, now_ns: int) -> None:
        found = [(path, told_ns) for path, told_ns in self._revisions() if path.name != besides]
        # A tenth more than must be: so that a full folder is not read anew with each alert.
        spare = len(found) + 1 - (self._most_files - self._most_files // 10)
        too_many = max(spare, 0) if len(found) + 1 > self._most_files else 0
        for number, (path, told_ns) in enumerate(found):
            if number < too_many or now_ns - told_ns > self._longest_ns:
                with contextlib.suppress(OSError):  # somebody's who keeps it: tried again within the hour
                    path.unlink()
                    self.swept += 1
        self._files = 1 + sum(path.exists() for path, _ in found)

    def _complaint(self, error: OSError) -> str:
        reason = error.strerror or type(error).__name__
        remedy = _REMEDIES.get(error.errno or 0, "check the folder and its disk")
        return f"not written to {plain(str(self._folder))}: {plain(reason)}; {remedy}"

    def _features(self, alert: Alert) -> tuple[dict[str, Any], ...]:
        line = {"line": radio_line(alert, self._zone)}
        return tuple(one | {"properties": one["properties"] | line} for one in alert.to_geojson()["features"])


def _holds(path: Path, content: bytes) -> bool:
    """Whether it is there already, as it should be; a link, a pipe or a folder of that name is not it."""
    try:
        return path.lstat().st_size == len(content) and _regular(path) == content
    except OSError:
        return False


def _regular(path: Path) -> bytes:
    """What is in a file that is one: whoever opens a pipe waits for ever.

    Raises
    ------
    OSError
        When it is none, or larger than any alert.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(file, "rb") as opened:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_BYTES:
            raise OSError(errno.EINVAL, "not a file of ours")
        return opened.read()


def _write_whole(path: Path, content: bytes, told_ns: int) -> None:
    """Make a file that is there whole or not at all, by its name on the disk too; its time is when it was queued."""
    partial = path.with_name(path.name + _PARTIAL)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(partial, flags, MODE)
    try:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fchmod(file, MODE)
            os.utime(file, ns=(told_ns, told_ns))
            os.fsync(file)
        finally:
            os.close(file)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
