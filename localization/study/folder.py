"""Folders of results: complete, or not there at all."""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def complete(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """A folder to write to, which takes the place of ``folder`` at the end, or vanishes when something fails.

    Parameters
    ----------
    folder : Path
        Where the results are to be; its parents are made.
    names : sequence of str
        What an earlier result may have left there, files or folders: replaced one by one, everything else stays. The
        first one names the folder's kind: without it the rest counts for nothing, so it goes first and comes last.
    """
    folder = Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A folder that is there stays the same one: a disk may be mounted there, or a shell stand in it.
    stays = folder.is_dir()
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder if stays else folder.parent))
    try:
        yield work
        if stays:
            _replace(work, folder, names)
        else:
            work.chmod(0o755)
            work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _replace(work: Path, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        old = folder / name
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    for path in sorted(work.iterdir(), key=lambda path: path.name == names[0]):
        path.rename(folder / path.name)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A CSV file with a header line, UTF-8, lines ended by a line feed on every machine."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
