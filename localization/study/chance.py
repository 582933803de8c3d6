"""Chance: one source of random numbers for each thing that happens, so that no thing changes another's."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator


def child(seed: int, *names: str) -> Generator:
    """The generator that ``seed`` gives to whatever bears these names: the same whoever else asks, in any order.

    The names pass through SHA-256 into a seed sequence for PCG64, both stable across versions of numpy.
    """
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    words = [int.from_bytes(digest[k : k + 4], "little") for k in range(0, 32, 4)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))
