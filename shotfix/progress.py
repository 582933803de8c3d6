"""Progress: a bar on a terminal for work that takes longer than a second; silence elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE_S: Final = 1.0


@contextmanager
def progress(what: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
    """A function that takes how much has been done since it was last called; the bar stands on standard error."""
    if not sys.stderr.isatty() or total <= 0.0:
        yield lambda _amount: None
        return
    from rich.console import Console  # only who sits at a terminal waits for it to load
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f} " + unit)
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=total)
    began = time.monotonic()
    started = False

    def advance(amount: float) -> None:
        nonlocal started
        bar.advance(task, amount)
        if not started and time.monotonic() - began > PATIENCE_S:
            started = True
            bar.start()

    try:
        yield advance
    finally:
        if started:
            bar.stop()
