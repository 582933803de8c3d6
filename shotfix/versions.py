"""Versions: what an alert or a run was made with."""

from __future__ import annotations

import functools
import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

PARTS: Final = ("shotfix", "numpy", "scipy", "numba", "pyproj", "soundfile")


@functools.cache
def versions() -> dict[str, str]:
    """Version of each part that can change a result, and of Python."""
    found = {"python": platform.python_version()}
    for part in PARTS:
        try:
            found[part] = version(part)
        except PackageNotFoundError:  # run from a checkout that was not installed
            found[part] = "unknown"
    return found


@functools.cache
def model_hash() -> str:
    """SHA-256 of the file that holds the built-in classifier."""
    from acoustic.classifier import MODEL_PATH  # only who judges sounds waits for it

    return hashlib.sha256(MODEL_PATH.read_bytes()).hexdigest()
