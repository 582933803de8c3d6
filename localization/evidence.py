"""Evidence of several sensors about one bang, fused into one log-likelihood ratio and one class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from acoustic.detection import CLASSES, LLR_LIMIT, probabilities_from_llr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from acoustic.detection import Detection

CORRELATION: Final = 0.3
"""How much of one sensor's evidence another one repeats: they hear the same bang through the same model. With eight
sensors this leaves the weight of 2.6 independent ones; their plain sum would claim three times too much."""


def fuse(detections: Sequence[Detection], weights: Sequence[float]) -> tuple[float, tuple[float, ...]]:
    """Fused log-likelihood ratio, and class probabilities that agree with it.

    Parameters
    ----------
    detections : sequence of Detection
        One a sensor.
    weights : sequence of float
        Probability that each is the direct arrival of the bang.

    Returns
    -------
    float, tuple of float
        Sum of the weighted ratios over 1 + (k - 1) `CORRELATION`, with k the sum of weights; and the probabilities of
        `CLASSES` at a prior of one half, what is not gunshot shared out as the sensors see it on average.
    """
    k = math.fsum(weights)
    total = math.fsum(w * d.llr for d, w in zip(detections, weights, strict=True))
    llr = total / (1.0 + max(k - 1.0, 0.0) * CORRELATION)
    llr = max(-LLR_LIMIT, min(LLR_LIMIT, llr))
    others = [
        math.fsum(
            (w + 1e-9) * d.probabilities[c] / max(1e-12, 1.0 - d.probabilities[0])
            for d, w in zip(detections, weights, strict=True)
        )
        for c in range(1, len(CLASSES))
    ]
    return llr, probabilities_from_llr(llr, others if math.fsum(others) > 0.0 else (1.0,) * 4)
