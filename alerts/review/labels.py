"""Labels: what reviewers said of sounds, as data to learn from and to measure with."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from acoustic.instant import NANOSECONDS_PER_SECOND, instant_text
from alerts.record import tables
from alerts.review.opinions import FIRST, SECOND, SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from alerts.act import Judgement
    from alerts.record.store import Store
    from alerts.review.reviewed import Reviewed

CLASS_OF: Final[Mapping[Judgement, str | None]] = MappingProxyType(
    {
        "gunfire": "gunshot",
        "fireworks": "firework",
        "vehicle": "impulse",  # what was heard of it was a bang: a backfire, a crash
        "construction": "impulse",
        "handling": "handling",
        "noise": "noise",
        "other": None,  # anything from thunder to a door: known only as no gunshot
        "unsure": None,
    }
)
"""The classes of the classifier for what people say."""

MANIFEST_LABEL: Final[Mapping[Judgement, str]] = MappingProxyType(
    {
        "gunfire": "gunshot",
        "fireworks": "firework",
        "vehicle": "impact",
        "construction": "construction",
        "handling": "handling",
        "noise": "noise",
    }
)
"""The finer labels that the trainer's `manifest.csv` has for them; what is not here teaches nothing."""

ROLES: Final = {FIRST: "first", SECOND: "second", SUPERVISOR: "supervisor"}
COARSE_DECIMALS: Final = 2
"""Of degrees: places are told to 0.01, which is 1.1 km north and south."""
FINE_DECIMALS: Final = 7
_KEY: Final = "pseudonyms"


@dataclass(frozen=True, slots=True)
class LabelOpinion:
    """What one reviewer said, under a pseudonym."""

    role: str
    reviewer: str
    verdict: str
    sound: str | None
    listened: bool


@dataclass(frozen=True, slots=True)
class MachineWord:
    """What the machine had said when the first reviewer judged it; ``models`` by name, ``model_hash`` by content."""

    outcome: str
    p_gunshot: float
    llr: float
    prior: float
    models: tuple[str, ...]
    model_hash: str | None
    configuration_hash: str | None


@dataclass(frozen=True, slots=True)
class Label:
    """One clip of one incident that was reviewed, or one incident of which no clip is known.

    Parameters
    ----------
    incident_id, alert_id, revision
        Which; the revision that the first reviewer judged.
    clip_sha256, duration_s
        Of the samples, as the alert names them; None without a clip.
    file : str
        The clip inside the export; empty when it was not copied.
    named_then : bool
        Whether the revision that was judged named this clip: nobody can have heard one that came later.
    shot_ids : tuple of str
        The rounds of the incident. A clip is of the incident; which of them is heard where in it is not recorded.
    rounds : int
        The most probable number.
    verdict, sound, is_gunshot
        The last word; the class of the classifier for it; None while it is disputed, or where it has none.
    standing : str
        How it came about: single (nobody else was asked, or has answered), agreed, adjudicated, disputed.
    second_because : tuple of str
        Why a second person was asked: drawn, unsure, overruled.
    listened : bool
        Whether anybody whose word counts fetched a clip of it before.
    opinions : tuple of LabelOpinion
        In their turns.
    machine : MachineWord
        What it had said.
    disposition : str or None
        What those found who went there.
    discharged_at : str
        RFC 3339: the hour, or the instant where exact ones were asked for.
    latitude, longitude : float or None
        Rounded.
    """

    incident_id: str
    alert_id: str
    revision: int
    clip_sha256: str | None
    duration_s: float | None
    file: str
    named_then: bool
    shot_ids: tuple[str, ...]
    rounds: int
    verdict: str | None
    sound: str | None
    is_gunshot: bool | None
    standing: str
    second_because: tuple[str, ...]
    listened: bool
    opinions: tuple[LabelOpinion, ...]
    machine: MachineWord
    disposition: str | None
    discharged_at: str
    latitude: float | None
    longitude: float | None


def pseudonym(key: bytes, who: str) -> str:
    """An opaque name for a person, the same for ever in one record: a keyed hash, so that nobody can try names."""
    return "r" + hmac.new(key, who.casefold().encode(), hashlib.sha256).hexdigest()[:12]


def pseudonym_key(store: Store) -> bytes:
    """The record's own key for pseudonyms; made when it is first asked for."""

    def find(connection: sa.Connection) -> str:
        found = connection.execute(sa.select(tables.meta.c.value).where(tables.meta.c.key == _KEY)).scalar_one_or_none()
        if found is None:
            found = secrets.token_hex(32)
            connection.execute(sa.insert(tables.meta), {"key": _KEY, "value": found})
        return found

    return bytes.fromhex(store.write(find))


def labels_of(one: Reviewed, key: bytes, *, exact: bool = False) -> Iterator[Label]:
    """The labels of a reviewed incident: one for each clip that its last revision names, or one without.

    Parameters
    ----------
    key : bytes
        For pseudonyms.
    exact : bool
        Places and times as they are, not rounded.
    """
    then = one.judged or one.alert
    known_then = {clip.sha256 for clip in then.audio}
    word = one.word
    for clip in one.alert.audio or (None,):
        yield Label(
            incident_id=one.head.incident_id,
            alert_id=one.head.alert_id,
            revision=then.revision,
            clip_sha256=None if clip is None else clip.sha256,
            duration_s=None if clip is None else clip.duration,
            file="",
            named_then=clip is not None and clip.sha256 in known_then,
            shot_ids=tuple(shot.shot_id for shot in one.alert.rounds),
            rounds=one.alert.what.rounds.best,
            verdict=word,
            sound=sound_of(word),
            is_gunshot=None if word in (None, "unsure") else word == "gunfire",
            standing=one.standing,
            second_because=one.second_because,
            listened=any(opinion.listened for opinion in one.opinions),
            opinions=_opinions(one, key),
            machine=_machine(one),
            disposition=one.head.disposition,
            discharged_at=_time(one.head.first_ns, exact=exact),
            latitude=_coordinate(one.head.latitude, exact=exact),
            longitude=_coordinate(one.head.longitude, exact=exact),
        )


def sound_of(verdict: str | None) -> str | None:
    """The class of the classifier for what people say; None where it has none."""
    return next((sound for judgement, sound in CLASS_OF.items() if judgement == verdict), None)


def _opinions(one: Reviewed, key: bytes) -> tuple[LabelOpinion, ...]:
    return tuple(
        LabelOpinion(ROLES[said.turn], pseudonym(key, said.by), said.verdict, sound_of(said.verdict), said.listened)
        for said in one.opinions
    )


def _machine(one: Reviewed) -> MachineWord:
    then = one.judged or one.alert
    made = then.provenance
    return MachineWord(
        one.machine_outcome,
        then.what.p_gunshot,
        then.what.llr,
        then.what.prior,
        made.models,
        made.model_hash,
        made.configuration_hash,
    )


def _time(first_ns: int, *, exact: bool) -> str:
    hour_ns = 3_600 * NANOSECONDS_PER_SECOND
    return instant_text(first_ns, 6) if exact else instant_text(first_ns // hour_ns * hour_ns, 0)


def _coordinate(degrees: float | None, *, exact: bool) -> float | None:
    return None if degrees is None else round(degrees, FINE_DECIMALS if exact else COARSE_DECIMALS)
