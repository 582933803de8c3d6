"""Permissions: which role may do what, in one table; docs/api.md prints it, and every cell of it is tested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Role = Literal["analyst", "supervisor", "researcher", "auditor", "courier"]
ROLES: Final[tuple[Role, ...]] = ("analyst", "supervisor", "researcher", "auditor", "courier")
"""Who looks and decides; who decides over them; who studies; who checks; a program that brings alerts elsewhere."""

_DESK: Final[frozenset[Role]] = frozenset({"analyst", "supervisor"})
_INSIDE: Final[frozenset[Role]] = _DESK | {"auditor"}
_ALL: Final[frozenset[Role]] = frozenset(ROLES)
_SUPERVISOR: Final[frozenset[Role]] = frozenset({"supervisor"})

PERMISSIONS: Final[dict[str, frozenset[Role]]] = {
    "GET /openapi.json": _ALL,
    "GET /me": _ALL,
    "GET /alerts": _ALL,
    "GET /alerts/{alert_id}": _ALL,
    "GET /alerts/{alert_id}/revisions": _ALL,
    "GET /incidents": _INSIDE,
    "GET /incidents/{incident_id}": _INSIDE,
    "GET /incidents/{incident_id}/blind": _DESK,
    "GET /queue": _DESK,
    "POST /incidents/{incident_id}/claim": _DESK,
    "POST /incidents/{incident_id}/release": _DESK,
    "POST /incidents/{incident_id}/acknowledge": _DESK,
    "POST /incidents/{incident_id}/judge": _DESK,
    "POST /incidents/{incident_id}/opinion": _DESK,
    "POST /incidents/{incident_id}/adjudicate": _SUPERVISOR,
    "POST /incidents/{incident_id}/place": _DESK,
    "POST /incidents/{incident_id}/merge": _DESK,
    "POST /incidents/{incident_id}/split": _DESK,
    "POST /incidents/{incident_id}/undo": _DESK,
    "POST /incidents/{incident_id}/disposition": _DESK,
    "POST /incidents/{incident_id}/note": _DESK,
    "POST /incidents/{incident_id}/link": _DESK,
    "POST /incidents/{incident_id}/pin": _SUPERVISOR,
    "GET /audio/{sha256}": _INSIDE | {"courier"},
    "GET /audio/{sha256}.wav": _INSIDE | {"courier"},
    "GET /sensors": _ALL,
    "GET /events": _ALL,
    "GET /ledger": frozenset({"auditor"}),
    "GET /ledger/verify": frozenset({"auditor"}),
    "GET /access": frozenset({"auditor"}),
    "GET /accounting": _INSIDE | {"researcher"},
    "GET /agreement": frozenset({"supervisor", "researcher", "auditor"}),
    "GET /deliveries": frozenset({"supervisor", "auditor"}),
    "POST /deliveries/{courier}/revive": _SUPERVISOR,
    "GET /festival": _INSIDE | {"researcher"},
}
"""By method and path, under /api/v1: who may. Where the configuration says ``audio_for_researchers``, researchers may
fetch sound too. Whoever holds several roles may do what any of them may."""

AUDIO: Final = frozenset({"GET /audio/{sha256}", "GET /audio/{sha256}.wav"})

EXACT_SENSORS: Final[frozenset[Role]] = frozenset({"supervisor", "auditor"})
"""Who is told where sensors stand, and their names; everybody else gets a cell of the map and an opaque name."""
SEES_UNPUBLISHED: Final[frozenset[Role]] = _INSIDE | {"researcher"}
"""Who is told of incidents that were never published; a courier carries what was."""
SEES_PEOPLE: Final[frozenset[Role]] = _INSIDE
"""Who is told the names and notes of those who reviewed."""


def permitted(operation: str, *, audio_for_researchers: bool = False) -> frozenset[Role]:
    """Who may do this operation of `PERMISSIONS`."""
    more: frozenset[Role] = frozenset({"researcher"} if audio_for_researchers and operation in AUDIO else ())
    return PERMISSIONS[operation] | more


def may(roles: Iterable[str], operation: str, *, audio_for_researchers: bool = False) -> bool:
    """Whether any of these roles may do this operation."""
    return not permitted(operation, audio_for_researchers=audio_for_researchers).isdisjoint(roles)


def table_text() -> str:
    """`PERMISSIONS` as a table of Markdown."""
    lines = ["| | " + " | ".join(ROLES) + " |", "|---" * (len(ROLES) + 1) + "|"]
    for operation, roles in PERMISSIONS.items():
        cells = []
        for role in ROLES:
            configured = role in permitted(operation, audio_for_researchers=True)
            cells.append("yes" if role in roles else "(yes)" if configured else "-")
        lines.append(f"| `{operation}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
