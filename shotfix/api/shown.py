"""Shown: to whom a list or a stream showed a first verdict beside which a second is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerts.words import plain
from shotfix.api.access_log import Access
from shotfix.api.door import address_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shotfix.api.call import Call


def note_shown(call: Call, names: Iterable[str]) -> None:
    """Note in the access log that a call's answer has the first verdict of these incidents; in the event loop.

    Whoever saw it without ever opening the incident is, as the second, not quite blind. Once for each person and
    incident, and only while a second is wanted: a list has hundreds of lines, a screen asks for it every few seconds,
    and all but those few are nobody's secret.
    """
    if not (call.has("analyst", "supervisor") and call.what.startswith("GET ")):
        return  # nobody else is ever the second, and who asks for the head of an answer sees nothing
    at_ns, roles = call.room.services.now_ns(), "+".join(call.person.roles)
    address = plain(address_of(call.request))[:64]
    for name in names:
        call.room.access.note_once(Access(at_ns, call.who, roles, call.what, name, 200, address))
