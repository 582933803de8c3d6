"""Whether a document is what was stored: asked wherever one is read."""

from __future__ import annotations

import hashlib
from typing import Any

from alerts.record.database import StoreError


class AlteredError(StoreError):
    """A document is not what was stored."""


def is_intact(document: object, sha256: str) -> bool:
    """Whether these are the bytes that the digest beside them is of."""
    # SQLite lets other programs put text where bytes belong.
    return isinstance(document, bytes) and hashlib.sha256(document).hexdigest() == sha256


def intact(row: Any) -> bytes:
    """The document of a row, or of its mapping, that also has ``alert_id``, ``revision`` and ``sha256``.

    Raises
    ------
    AlteredError
        When it is not what was stored.
    """
    facts = getattr(row, "_mapping", row)
    document: bytes = facts["document"]
    if not is_intact(document, facts["sha256"]):
        raise AlteredError(f"{facts['alert_id']} revision {facts['revision']} was altered; restore it from a backup")
    return document
