"""What the body of an act holds, member by member; nothing else is taken."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from alerts.act import LONGEST_NOTE, MOST_SHOTS, Judgement
from alerts.alert import Name
from alerts.review.findings import LONGEST_CASE_NUMBER, MOST_OFFICER_MINUTES, Disposition, Evidence
from alerts.review.marks import LONGEST_NUMBER

TEXT: Final = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"
"""Tabs and line feeds, and no other control characters: PostgreSQL takes no nought, and terminals too much."""
Version = Annotated[int, msgspec.Meta(ge=0, le=2_000_000_000)]
Note = Annotated[str, msgspec.Meta(max_length=LONGEST_NOTE, pattern=TEXT)]
Words = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NOTE, pattern=TEXT)]


class Bare(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An act that needs no words; ``version`` is that of the incident as it was looked at, unless If-Match says it."""

    version: Version | None = None


class JudgeBody(Bare, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What it was."""

    judgement: Judgement
    note: Note = ""


class PlaceBody(Bare, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where it was, degrees WGS84, and how far around it may have been at 95 %."""

    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    radius_m: Annotated[float, msgspec.Meta(ge=0.1, le=10_000)]
    note: Note = ""


class MergeBody(Bare, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """It is part of another incident, named by its incident_id."""

    into: Name
    note: Note = ""


class SplitBody(Bare, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """These of its rounds are an incident of their own."""

    shot_ids: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=MOST_SHOTS)]
    note: Note = ""


class UndoBody(Bare, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An act of it counts no more."""

    act_id: Name
    note: Note = ""


class DispositionBody(Bare, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What came of it."""

    disposition: Disposition
    evidence: Annotated[tuple[Evidence, ...], msgspec.Meta(max_length=10)] = ()
    case_number: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_CASE_NUMBER)] | None = None
    officer_minutes: Annotated[float, msgspec.Meta(ge=0, le=MOST_OFFICER_MINUTES)] | None = None
    note: Note = ""


class NoteBody(Bare, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Words for others to read."""

    text: Words


class PinBody(Bare, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keep it beyond its time, or no longer."""

    reason: Words
    pinned: bool = True


class LinkBody(Bare, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The number by which another system knows it; ``linked`` false takes it back."""

    system: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,15}$")]
    number: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NUMBER)]
    linked: bool = True
