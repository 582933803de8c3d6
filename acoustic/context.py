"""Context: what the bangs within ten seconds in one recording say that one bang cannot."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from acoustic.classifier import LLR_BOUND
from acoustic.detection import CLASSES, probabilities_from_llr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from acoustic.classifier import Judgement

CONTEXT_S: Final = 10.0
COMPARABLE: Final = 0.25  # 12 dB below the loudest: what is weaker is an echo, or far from the matter
TOGETHER: Final = 0.6  # how far the evidence of all counts beside a bang's own: most have one source
FREE_BANGS: Final = 3
WEIGHT: Final = 0.8
STEADY: Final = 0.25  # coefficient of variation of the intervals, below which they are those of a machine
FIREWORK: Final = CLASSES.index("firework")


@dataclass(frozen=True, slots=True)
class Bang:
    """One impulse at a sensor: seconds from any zero, greatest magnitude in any unit, and what it was taken for."""

    onset_s: float
    peak: float
    judgement: Judgement


def in_context(bang: Bang, around: Iterable[Bang]) -> Judgement:
    """A bang's judgement in the light of all bangs around it, itself among them.

    Bangs within seconds mostly have one source, so that six tenths of a bang's evidence are the mean of theirs, each
    weighed by its magnitude. Many of one strength at irregular times are a display and no gun: the logarithm of their
    number beyond three counts against a gunshot and for a firework, unless they come as steadily as automatic fire.

    Parameters
    ----------
    bang : Bang
    around : iterable of Bang
        Within `CONTEXT_S`; the bang itself must be among them.

    Notes
    -----
    Settled on recordings of 2 to 8 seconds (the model's card has the figures). Several shooters at once fall under
    "many and irregular"; their single bangs keep their own part of the evidence.
    """
    bangs = [other for other in around if abs(other.onset_s - bang.onset_s) <= CONTEXT_S]
    total = math.fsum(other.peak for other in bangs)
    if total <= 0.0 or not any(other.judgement.llr for other in bangs):
        return bang.judgement  # nobody says anything, so neither does their number
    shared = math.fsum(other.peak * other.judgement.llr for other in bangs) / total
    against = WEIGHT * crowd(bangs)
    llr = (1.0 - TOGETHER) * bang.judgement.llr + TOGETHER * shared - against
    llr = min(max(llr, -LLR_BOUND), LLR_BOUND)
    others = list(bang.judgement.probabilities[1:])
    others[FIREWORK - 1] *= math.exp(against)
    return replace(bang.judgement, llr=llr, probabilities=probabilities_from_llr(llr, others))


def crowd(bangs: Sequence[Bang]) -> float:
    """Logarithm of how many more than `FREE_BANGS` there are of comparable strength; 0 where they come steadily."""
    loudest = max(bang.peak for bang in bangs)
    times_s = sorted(bang.onset_s for bang in bangs if bang.peak >= COMPARABLE * loudest)
    if len(times_s) <= FREE_BANGS:
        return 0.0
    intervals_s = [later - earlier for earlier, later in itertools.pairwise(times_s)]
    mean_s = math.fsum(intervals_s) / len(intervals_s)
    variance = math.fsum((interval_s - mean_s) ** 2 for interval_s in intervals_s) / len(intervals_s)
    steady = math.sqrt(variance) < STEADY * mean_s
    return 0.0 if steady else math.log(len(times_s) / FREE_BANGS)
