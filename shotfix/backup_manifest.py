"""The list of a backup: each of its files with size and digest, and up to where its journals reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "manifest.json"
DATA: Final = "data"
CONFIGURATION: Final = "configuration"
SERVER: Final = "server"
DUMP: Final = f"{SERVER}/record.pgdump"
"""Where in a backup the record is that a server keeps, for ``pg_restore``."""
FORMAT: Final = 1


class BackupError(Exception):
    """A backup cannot be made, or must not be restored; names the file and the remedy."""


def read_manifest(source: Path) -> dict[str, Any]:
    """The list of a backup.

    Raises
    ------
    BackupError
        When there is none, it is damaged, or of another format.
    """
    path = source / MANIFEST
    manifest: dict[str, Any] = {}
    try:
        manifest = json.loads(path.read_bytes())
        well = (
            isinstance(manifest, dict)
            and isinstance(manifest.get("journals"), dict)
            and all(_is_inside(name) and _is_fact(facts) for name, facts in manifest["files"].items())
        )
    except FileNotFoundError:
        raise BackupError(f"{path}: no such file; this is no backup, or one that was not finished") from None
    except (ValueError, KeyError, AttributeError, RecursionError):
        well = False
    if not well:
        raise BackupError(f"{path}: is damaged; use another backup")
    if manifest.get("format") != FORMAT:
        raise BackupError(f"{path}: of format {manifest.get('format')!r}, this program knows {FORMAT}; update shotfix")
    return manifest


def _is_inside(name: str) -> bool:
    """Whether a file of the manifest lies where files of a backup lie."""
    parts = name.split("/")
    return len(parts) > 1 and parts[0] in {DATA, CONFIGURATION, SERVER} and not {"", ".", ".."} & set(parts)


def _is_fact(facts: Any) -> bool:
    return isinstance(facts, dict) and isinstance(facts.get("bytes"), int) and isinstance(facts.get("sha256"), str)
