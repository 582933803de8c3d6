"""Columns: what those who publish addresses call a number, a street, a range; and what a row says by them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from alerts.places.naming import shown

KNOWN: Final[dict[str, tuple[str, ...]]] = {
    "number": ("number", "house_number", "addr:housenumber", "housenumber", "house_no", "hno", "streetnum",
               "street_num", "street_number", "street_no",
               "st_num", "st_number", "addr_num", "address_number", "Add_Number",
               "HouseNum"),
    "number_before": ("AddNum_Pre",),
    "number_behind": ("AddNum_Suf",),
    "street": ("street", "addr:street", "street_name", "full_street", "full_street_name", "road_name", "FULLNAME",
               "full_name", "StFullName", "st_full_nm", "addr:place"),
    "street_base": ("St_Name", "LSt_Name", "CV_STNAME", "STNAME"),
    "full": ("address", "addr:full", "full_address", "full_addr", "site_address", "site_addr", "situs_address", "situs",
             "addr_full", "FullAddress"),
    "city": ("city", "addr:city", "municipality", "MSAGComm", "Inc_Muni", "town", "Post_City"),
    "latitude": ("lat", "latitude", "y", "point_y", "Lat_DD"),
    "longitude": ("lon", "lng", "long", "longitude", "x", "point_x", "Long_DD"),
    "crossing_with": ("cross_street", "intersecting_street", "street2", "street_2", "cross"),
    "name": ("name", "park_name", "label", "NAMELSAD"),
    "beat": ("beat", "beat_name", "beat_num", "beat_number", "district", "district_name", "dist_name", "precinct",
             "ward", "sector", "neighborhood", "neighbourhood", "neighborhood_name", "nbhd", "community"),
    "left_from": ("LFROMADD", "LFROMHN", "FromAddr_L", "L_F_ADD", "left_from"),
    "left_to": ("LTOADD", "LTOHN", "ToAddr_L", "L_T_ADD", "left_to"),
    "right_from": ("RFROMADD", "RFROMHN", "FromAddr_R", "R_F_ADD", "right_from"),
    "right_to": ("RTOADD", "RTOHN", "ToAddr_R", "R_T_ADD", "right_to"),
    "lowest": ("lo", "low", "from_number", "lowest"),
    "highest": ("hi", "high", "to_number", "highest"),
}  # fmt: skip
"""Names of OpenAddresses, OpenStreetMap, TIGER/Line (edges, address ranges), NENA's NG9-1-1 model and of cities."""

PARTS: Final = (
    ("St_PreMod", "LSt_PreMod"),
    ("St_PreDir", "LSt_PreDir", "CV_STPREFIX", "PREDIR"),
    ("St_PreTyp", "LSt_PreTyp"),
    ("St_PreSep",),
    KNOWN["street_base"],
    ("St_PosTyp", "LSt_Typ", "LSt_Type", "LSt_PosTyp", "CV_STTYPE", "STTYPE", "SUFTYPE"),
    ("St_PosDir", "LSt_PosDir", "CV_STSUFFIX", "SUFDIR"),
    ("St_PosMod",),
)
"""A street's name in the order in which it is read (NENA-STA-006.2, and the file of Hartford's own)."""

OVERRIDES: Final = ("number", "street", "full", "city", "latitude", "longitude", "crossing_with", "name")
"""What a user may name himself."""


@functools.lru_cache(4096)
def plain_key(column: str) -> str:
    """A column's name in small letters and digits alone: ``addr:housenumber`` and ``Addr_HouseNumber`` are one."""
    return re.sub(r"[^a-z0-9]", "", column.lower())


_PLAIN: Final = {meaning: tuple(plain_key(name) for name in names) for meaning, names in KNOWN.items()}
_PLAIN_PARTS: Final = tuple(tuple(plain_key(name) for name in names) for names in PARTS)


@dataclass(slots=True)
class Columns:
    """Finds what a row says, under the names that are known or under those that the user gave.

    Parameters
    ----------
    given : mapping
        Column by meaning, one of `OVERRIDES`.
    """

    given: Mapping[str, str] = field(default_factory=dict)
    _plain: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._plain = {meaning: plain_key(column) for meaning, column in self.given.items()}

    def row(self, properties: Mapping[str, Any]) -> Row:
        """What a row says."""
        return Row({plain_key(str(key)): value for key, value in properties.items()}, self._plain)

    def missing(self, header: Iterable[str], meaning: str) -> bool:
        """Whether no column of a table has this meaning."""
        there = {plain_key(column) for column in header}
        wanted = self._plain.get(meaning)
        return not there & set(_PLAIN[meaning] if wanted is None else (wanted,))


@dataclass(frozen=True, slots=True)
class Row:
    """The values of a row by their plain keys."""

    values: Mapping[str, Any]
    given: Mapping[str, str]

    def text(self, meaning: str) -> str:
        """What the row says under this meaning, as it is shown; empty when nothing."""
        for name in (self.given[meaning],) if meaning in self.given else _PLAIN[meaning]:
            value = self.values.get(name)
            if value and (said := shown(value)):
                return said
        return ""

    def tag(self, name: str) -> str:
        """The value of a tag of OpenStreetMap, in small letters."""
        value = self.values.get(name)
        return shown(value).lower() if value else ""

    def number(self) -> str:
        """The house number with what stands before and behind it; empty when there is none."""
        number = self.text("number").removesuffix(".0")
        if not number or number == "0":
            return ""
        return f"{self.text('number_before')}{number}{_behind(self.text('number_behind'))}"

    def street(self) -> str:
        """The street's name, put together from its parts where it comes in parts."""
        if "street" in self.given:
            return self.text("street")
        base = self.text("street_base")
        if base:
            parts = (next((said for n in names if (said := shown(self.values.get(n)))), "") for names in _PLAIN_PARTS)
            return " ".join(part for part in parts if part)
        return self.text("street")

    def address(self) -> tuple[str, str]:
        """House number and street; both empty unless there are both."""
        number, street = self.number(), self.street()
        if number and street:
            return number, street
        # Up to the first comma: what follows are city and postcode.
        found = re.fullmatch(r"(\d\S*(?: \d/\d)?) (\S.*)", self.text("full").split(",")[0].strip())
        return (found[1], found[2]) if found else ("", "")

    def whole(self, meaning: str) -> int | None:
        """The number that a range begins or ends with; None for nothing, nought or what is no number.

        One of two parts is none: of ``60-01`` in Queens or ``N6W23001`` in Wisconsin a part says another block.
        """
        found = re.fullmatch(r"(\d{1,7})(?:\.0)?(?: ?[A-Za-z]| \d/\d)?", self.text(meaning))
        return (int(found[1]) or None) if found else None


def _behind(suffix: str) -> str:
    return f" {suffix}" if suffix[:1].isdigit() else suffix
