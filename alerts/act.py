"""An act: what a person decides about an incident, and what of it changes what others are told."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from acoustic.instant import check_instant
from sensors.known_type import known

Judgement = Literal["gunfire", "fireworks", "vehicle", "construction", "handling", "noise", "other", "unsure"]
"""What a reviewer says it was. Handling: a sensor was touched, or its cable crackled; noise: no bang at all, as of
wind, rain, animals, voices or machines."""
JUDGEMENTS: Final[tuple[Judgement, ...]] = (
    "gunfire", "fireworks", "vehicle", "construction", "handling", "noise", "other", "unsure",
)  # fmt: skip

ActKind = Literal["judge", "place", "merge", "split", "undo"]

LONGEST_NOTE: Final = 2_000
MOST_SHOTS: Final = 100

Person = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]

NO_PERSON: Final = frozenset({"machine", "retention", "migration"})
"""What the ledger calls those who are no person, in small letters: nobody has such a name, however it is written."""


@dataclass(frozen=True, slots=True)
class Act:
    """One decision of one person about one incident; it changes what its alert says.

    Parameters
    ----------
    act_id : str
        One name for ever: the same act told twice is one.
    kind : str
        ``judge``: it was, or was not, gunfire. ``place``: it was there. ``merge``: it is part of another incident.
        ``split``: some of its rounds are an incident of their own. ``undo``: what this person or another said by
        ``undoes`` counts no more; nothing is erased.
    alert_id, incident_id : str
        What it is about.
    by : str
        Who: an opaque name, as the register of people has it.
    at_ns : int
        When, UTC.
    note : str
        Why, in their words.
    judgement : str or None
        Of ``judge``: one of `JUDGEMENTS`.
    latitude, longitude, radius_m : float or None
        Of ``place``: degrees WGS84, and how far around it may have been at 95 %.
    into : str or None
        Of ``merge``: the alert_id that it becomes part of.
    shot_ids : tuple of str
        Of ``split``: the rounds that leave.
    undoes : str or None
        Of ``undo``: an act_id.

    Raises
    ------
    ValueError
        When what its kind needs is absent or out of range, or there is more than that.
    """

    act_id: str
    kind: ActKind
    alert_id: str
    incident_id: str
    by: Person
    at_ns: int
    note: str = ""
    judgement: Judgement | None = None
    latitude: float | None = None
    longitude: float | None = None
    radius_m: float | None = None
    into: str | None = None
    shot_ids: tuple[str, ...] = ()
    undoes: str | None = None

    def __post_init__(self) -> None:
        check_instant(self.at_ns, "at_ns")
        if not self.act_id or not self.alert_id or not self.incident_id or not self.by:
            raise ValueError("an act has a name, an alert, an incident and a person")
        if len(self.note) > LONGEST_NOTE:
            raise ValueError(f"the note has {len(self.note)} characters: expected {LONGEST_NOTE} at most")
        given = {
            "judge": self.judgement is not None,
            "place": None not in (self.latitude, self.longitude, self.radius_m),
            "merge": self.into is not None,
            "split": bool(self.shot_ids),
            "undo": self.undoes is not None,
        }
        if [kind for kind, is_given in given.items() if is_given] != [self.kind]:
            raise ValueError(f"an act of kind {self.kind} needs what belongs to it, and nothing else")
        self._check_values()

    def _check_values(self) -> None:
        if self.judgement is not None and self.judgement not in JUDGEMENTS:
            raise ValueError(f"judgement is {self.judgement!r}: expected one of {', '.join(JUDGEMENTS)}")
        if self.latitude is not None and not -90.0 <= self.latitude <= 90.0:
            raise ValueError(f"latitude is {self.latitude}: expected -90 to 90")
        if self.longitude is not None and not -180.0 <= self.longitude <= 180.0:
            raise ValueError(f"longitude is {self.longitude}: expected -180 to 180")
        if self.radius_m is not None and not 0.1 <= self.radius_m <= 10_000.0:
            raise ValueError(f"radius_m is {self.radius_m}: expected 0.1 to 10,000")
        if self.into == self.alert_id:
            raise ValueError("an incident cannot become part of itself")
        if len(self.shot_ids) > MOST_SHOTS or len(set(self.shot_ids)) != len(self.shot_ids):
            raise ValueError(f"shot_ids names rounds, each once, {MOST_SHOTS} at most")


def act_name(alert_id: str, by: str, at_ns: int, said: str) -> str:
    """A name for an act: a hash of who said what of which alert, and when."""
    return "h" + hashlib.sha256(f"act\n{alert_id}\n{by}\n{at_ns}\n{said}".encode()).hexdigest()[:16]


def encode_act(act: Act) -> bytes:
    """The act as one line of JSON."""
    return msgspec.json.encode(act)


def decode_act(document: bytes | str) -> Act:
    """An act from its JSON.

    Raises
    ------
    ValueError
        When it is none; the message names the member.
    """
    try:
        return msgspec.json.decode(document, type=known(Act))
    except (msgspec.DecodeError, RecursionError) as error:  # a ValidationError is one too
        raise ValueError(f"not an act of this version: {error}") from None
