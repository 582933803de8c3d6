"""Journals for tests: filled ones, and disks that refuse."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

from acoustic.instant import parse_instant
from shotfix import disk
from shotfix.journal import KINDS, Journal

NOW_NS = parse_instant("2026-11-21T03:00:00Z")
ROOT = Path(__file__).resolve().parents[1]


def dice_of(seed):
    return random.Random(seed)  # noqa: S311  (it shall be the same again)


def put(journal, bodies, kind="batch"):
    for each in bodies:
        journal.append(kind, NOW_NS, each)


def facts(entries):
    return [(e.position, e.kind, e.at_ns, e.body) for e in entries]


def filled(folder, groups=12, seed=1, segment_bytes=1_500):
    """The entries of a journal of some segments, whose bodies hold no zeros."""
    dice = dice_of(seed)
    with Journal(folder, segment_bytes) as journal:
        for _ in range(groups):
            for _ in range(dice.randint(1, 8)):
                size = dice.randint(0, 300)
                journal.append(dice.choice(KINDS), NOW_NS + journal.end, bytes(dice.choices(range(1, 256), k=size)))
            journal.flush()
        return facts(journal.entries())


class Refusing:
    """The system, refusing one kind of call after ``passed`` of them; of a write it still takes a part."""

    def __init__(self, monkeypatch, name, passed, number=errno.ENOSPC):
        self.real, self.passed, self.hit = getattr(os, name), passed, False
        self.number, self.name = number, name
        monkeypatch.setattr(disk.os, name, self)

    def __call__(self, *values):
        if self.passed > 0:
            self.passed -= 1
            return self.real(*values)
        self.hit = True
        if self.name == "pwrite" and len(values[1]) > 1:
            self.real(values[0], bytes(values[1])[: len(values[1]) // 2], values[2])
        raise OSError(self.number, os.strerror(self.number))
