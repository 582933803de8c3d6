"""Paths in a configuration: whether what they name is there, is private, or can be written to."""

from __future__ import annotations

import os
from pathlib import Path


def path_trouble(path: Path, role: str | None) -> str:
    """What is wrong with a path for its role, in words, or nothing."""
    try:
        if role == "store":
            return _store_trouble(path)
        if not path.exists():
            return "does not exist; the path is relative to this file"
        if role == "secret" and not path.is_file():
            return "is not a file"
        mode = path.stat().st_mode & 0o777
    except (OSError, ValueError) as error:
        return f"cannot be looked at ({getattr(error, 'strerror', None) or error})"
    if role == "secret" and mode & 0o077:
        return f"may be read by others (mode {mode:04o}); run chmod 600 on it"
    return "" if os.access(path, os.R_OK) else "cannot be read; check its owner and mode"


def _store_trouble(path: Path) -> str:
    """A place to write to is a folder, or can become one."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return f"cannot be made: {there} is a file" if there != path else "is a file; expected a folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"cannot be written to, for {there} cannot; check its owner and mode"
    return ""
