"""A detection: a pick, and the evidence of what made the sound."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.bearing import Bearing
from acoustic.instant import check_instant
from acoustic.pick import Pick

if TYPE_CHECKING:
    from collections.abc import Sequence

CLASSES: Final = ("gunshot", "firework", "impulse", "handling", "noise")
"""What a sound can be, in the order of every probability vector."""

FLAGS: Final = ("abstained", "clipped", "full-automatic", "shock-wave", "unfamiliar")
"""What a detection may be marked with: the model abstained; samples clipped; part of a burst of automatic fire;
a shock wave came before the blast; the features lie outside what the model was trained on."""

LLR_LIMIT: Final = 50.0  # beyond e^50 a likelihood ratio says nothing about sounds, only about a broken model


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of one sensor's audio, kept for people to hear.

    ``sha256`` is that of its samples as little-endian float32 in units of full scale.
    """

    start_ns: int
    duration_s: float
    sha256: str

    def __post_init__(self) -> None:
        check_instant(self.start_ns, "start_ns")
        if not 0.0 < self.duration_s <= 60.0:
            raise ValueError(f"duration_s is {self.duration_s}: expected above 0 and at most 60 s")
        if len(self.sha256) != 64 or not set(self.sha256) <= set("0123456789abcdef"):
            raise ValueError(f"sha256 is {self.sha256!r}: expected 64 lower-case hexadecimal digits")


@dataclass(frozen=True, slots=True)
class Detection:
    """One impulse at one sensor, with the evidence for a gunshot.

    Parameters
    ----------
    pulse_id : str
        Names this impulse for ever; see `pulse_identity`.
    sensor_id : str
        The device that heard it.
    pick : Pick
        When, how surely, how loud.
    llr : float
        Natural logarithm of p(sound | gunshot) / p(sound | anything else), calibrated; 0 says nothing either way.
    probabilities : tuple of float
        One for each of `CLASSES`, summing to 1, at a prior of one half for a gunshot.
    model : str
        Name and version of what judged; "none" when nothing did.
    flags : tuple of str
        Some of `FLAGS`, sorted.
    bearing : Bearing or None
        From where a small array heard it.

    Raises
    ------
    TypeError, ValueError
        When a value is out of range.
    """

    pulse_id: str
    sensor_id: str
    pick: Pick
    llr: float = 0.0
    probabilities: tuple[float, ...] = (0.5, 0.125, 0.125, 0.125, 0.125)
    model: str = "none"
    flags: tuple[str, ...] = ()
    bearing: Bearing | None = None

    def __post_init__(self) -> None:
        if not self.pulse_id or not self.sensor_id:
            raise ValueError("pulse_id and sensor_id must not be empty")
        if not abs(self.llr) <= LLR_LIMIT:
            raise ValueError(f"llr is {self.llr}: expected -{LLR_LIMIT:g} to {LLR_LIMIT:g}")
        check_probabilities(self.probabilities)
        if list(self.flags) != sorted(set(self.flags) & set(FLAGS)):
            raise ValueError(f"flags are {self.flags}: expected some of {', '.join(FLAGS)}, sorted, each once")

    @property
    def p_gunshot(self) -> float:
        """Probability of a gunshot at a prior of one half."""
        return probability(self.llr)

    @property
    def sound(self) -> str:
        """The most probable of `CLASSES`; the earlier one where two are equal."""
        return likeliest(self.probabilities)


def check_probabilities(probabilities: Sequence[float]) -> None:
    """Raise ValueError unless there is one probability for each of `CLASSES` and they sum to one."""
    if len(probabilities) != len(CLASSES) or not all(0.0 <= p <= 1.0 for p in probabilities):
        raise ValueError(f"probabilities are {probabilities}: expected {len(CLASSES)} numbers from 0 to 1")
    if abs(math.fsum(probabilities) - 1.0) > 1e-6:
        raise ValueError(f"probabilities sum to {math.fsum(probabilities)}: expected 1")


def probability(llr: float, log_prior_odds: float = 0.0) -> float:
    """Probability of a gunshot from its log-likelihood ratio and the logarithm of the prior odds."""
    logit = llr + log_prior_odds
    if logit >= 0.0:
        return 1.0 / (1.0 + math.exp(-logit))
    return math.exp(logit) / (1.0 + math.exp(logit))


def likeliest(probabilities: Sequence[float]) -> str:
    """The class of the greatest probability; the earlier one of `CLASSES` where two are equal."""
    return CLASSES[max(range(len(CLASSES)), key=lambda k: (probabilities[k], -k))]


def probabilities_from_llr(llr: float, others: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> tuple[float, ...]:
    """Class probabilities that agree with ``llr``: what is not gunshot is shared out in proportion to ``others``."""
    p = probability(llr)
    total = math.fsum(others)
    return (p, *((1.0 - p) * other / total for other in others))


def pulse_identity(sensor_id: str, onset_ns: int) -> str:
    """Name of the impulse that ``sensor_id`` heard at ``onset_ns``: the same in every run over the same sound."""
    return "p" + hashlib.sha256(f"{sensor_id}\n{onset_ns}".encode()).hexdigest()[:16]
