"""network.toml: which sensors stand where, whose they are, who is trusted, and what is being worked on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from acoustic.instant import check_instant, instant_text, parse_instant
from sensors.site import Geodetic, Site
from shotfix.config_reading import ConfigError

DEGREES: Final = ("latitude_deg", "longitude_deg", "height_m")
METRES: Final = ("east_m", "north_m", "up_m")
ELEMENT: Final = ("channel", *METRES)


class RegistryError(ConfigError):
    """A register that cannot be used; as text, a line for each of its ``problems``."""


@dataclass(frozen=True, slots=True)
class Node:
    """A device that reports: its public keys, two while it changes them, and whether it is still believed.

    Parameters
    ----------
    node_id : str
        1 to 100 printable characters.
    keys : tuple of str
        As `sensors.identity` writes them, ``ed25519:`` and base64.
    revoked : str or None
        When and why it is believed no longer, as ``2026-11-21T03:00:00Z, stolen``. None of its messages is taken from
        the moment that the centre reads this, whatever time stands here.
    """

    node_id: str
    keys: tuple[str, ...]
    revoked: str | None = None

    def __post_init__(self) -> None:
        from sensors.identity import MOST_KEYS, IdentityError, key_name  # half a second of crypto

        check_name(self.node_id, "node_id")
        if not 0 < len(self.keys) <= MOST_KEYS:
            raise ValueError(f"keys is of {len(self.keys)}: expected one, or {MOST_KEYS} while the node changes them")
        for key in self.keys:
            try:
                key_name(key)
            except IdentityError as error:
                raise ValueError(f"keys is {error}") from None
        if self.revoked is not None:
            at, _, reason = self.revoked.partition(",")
            if not reason.strip() or instant_of(at) is None:
                raise ValueError(
                    f"revoked is {self.revoked!r}: expected when, a comma and why, as 2026-11-21T03:00:00Z, stolen"
                )


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Somebody works on a sensor: what it hears then is not used. It ends by itself, and it has a reason.

    Parameters
    ----------
    sensor_id : str
        On which.
    from_ns, until_ns : int
        From when until when, UTC; the end is no longer part of it.
    reason : str
        Why, in a few words.
    """

    sensor_id: str
    from_ns: int
    until_ns: int
    reason: str

    def __post_init__(self) -> None:
        for name in ("from_ns", "until_ns"):
            check_instant(getattr(self, name), name)
        if self.from_ns >= self.until_ns:
            raise ValueError(f"until is {instant_text(self.until_ns, 0)}: expected a time after from")
        if not self.reason.strip() or not self.reason.isprintable() or len(self.reason) > 500:
            raise ValueError(f"reason is {self.reason[:50]!r}: expected why, in 1 to 500 printable characters")


@dataclass(frozen=True, slots=True)
class Contents:
    """What a network file says: sites and, in the same order, the nodes that speak for them; nodes; maintenance."""

    revision: int
    sites: tuple[Site, ...]
    owners: tuple[str, ...]
    nodes: tuple[Node, ...]
    maintenance: tuple[Maintenance, ...]


def tables_of(contents: Contents) -> dict[str, Any]:
    """The same as tables again, which `contents_of` reads to an equal record."""
    return {
        "revision": contents.revision,
        "sensor": [_sensor_table(s, o) for s, o in zip(contents.sites, contents.owners, strict=True)],
        "node": [
            {"node_id": node.node_id, "keys": list(node.keys)} | ({"revoked": node.revoked} if node.revoked else {})
            for node in contents.nodes
        ],
        "maintenance": [
            {
                "sensor_id": each.sensor_id,
                "from": instant_text(each.from_ns),
                "until": instant_text(each.until_ns),
                "reason": each.reason,
            }
            for each in contents.maintenance
        ],
    }


def check_name(text: str, key: str) -> None:
    """Refuse what cannot be a name, as sites do."""
    if not 0 < len(text) <= 100 or not text.isprintable():
        raise ValueError(f"{key} is {text[:100]!r}: expected 1 to 100 printable characters")


def _sensor_table(site: Site, owner: str) -> dict[str, Any]:
    names = DEGREES if isinstance(site.position, Geodetic) else METRES
    table: dict[str, Any] = {"sensor_id": site.sensor_id, "node_id": owner}
    table |= {name: getattr(site.position, name) for name in names}
    for name in ("position_sigma_m", "up_sigma_m", "clock_sigma_s", "clock_offset_s", "full_scale_db_spl"):
        if getattr(site, name) is not None:
            table[name] = getattr(site, name)
    for name, value in (("valid_from", site.valid_from_ns), ("valid_to", site.valid_to_ns)):
        if value is not None:
            table[name] = instant_text(value)
    if site.elements:
        table["element"] = [{name: getattr(each, name) for name in ELEMENT} for each in site.elements]
    return table


def instant_of(value: object) -> int | None:
    """The instant that TOML's own time or a text names, ns UTC; None when it is none, or has no zone."""
    text = value.isoformat() if isinstance(value, datetime) else value
    try:
        return parse_instant(text) if isinstance(text, str) else None
    except ValueError:
        return None
