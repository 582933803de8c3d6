"""The classifier: how much more likely a sound is if it was a gunshot than if it was anything else."""

from __future__ import annotations

import functools
import math
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from acoustic.detection import CLASSES, probabilities_from_llr
from acoustic.features import BEFORE_S, COMMON_RATE_HZ, NAMES, features

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL_PATH: Final = Path(__file__).with_name("model.npz")
OVERLOAD_S: Final = 0.05
OVERLOADED: Final = 1.0 / 3.0  # none of 1,062 impulses of the live fire, where clipping is usual
LLR_BOUND: Final = 8.0  # a few thousand training sounds support no stronger word
SELF_TEST_TOLERANCE: Final = 1e-6  # of the llr: processors round transforms and exponentials differently
Z_LIMIT: Final = 4.0  # standard deviations; beyond, a feature counts as being there
FAR: Final = 8.0  # the same, for the question whether a sound is familiar


@dataclass(frozen=True, slots=True)
class Judgement:
    """Evidence of one sound; the members are those of `acoustic.detection.Detection`."""

    llr: float
    probabilities: tuple[float, ...]
    flags: tuple[str, ...] = ()


class Classifier(Protocol):
    """What a listener asks of whoever judges its impulses."""

    @property
    def name(self) -> str:
        """Name and version of the model."""

    def judge(self, samples: NDArray[np.float32], onset: float, rate_hz: int) -> Judgement:
        """The evidence of the impulse that begins at sample ``onset`` of ``samples``, (n,) float32."""


class NoClassifier:
    """Says nothing either way."""

    name = "none"

    def judge(self, samples: NDArray[np.float32], onset: float, rate_hz: int) -> Judgement:  # noqa: ARG002  (never asked)
        """No evidence, whatever the sound."""
        return Judgement(0.0, probabilities_from_llr(0.0))


@dataclass(frozen=True, slots=True, eq=False)
class Perceptron:
    """A small network on standardised features, calibrated on sources it had not seen.

    Parameters
    ----------
    name : str
        Name and version.
    mean, scale : (f,) float64
        Of the features in training, in the order of `acoustic.features.NAMES`.
    hidden : (f, h) float64, hidden_bias : (h,) float64
        One layer of hyperbolic tangents.
    weights : (h, 5) float64, bias : (5,) float64
        One column for each of `acoustic.detection.CLASSES`.
    temperature, offset : float
        The calibration: llr = (raw log-odds of gunshot) / temperature + offset.
    spread : (f, f) float64
        Takes the correlations out of the standardised features: their product with it has unit variances.
    familiar : float
        Mean square of that product that 99.5 % of the training sounds stay below.
    doubt : float
        Size of the llr up to which the model abstains: its word for or against is then little better than a coin.

    Raises
    ------
    ValueError
        When shapes do not fit, or something is not finite.
    """

    name: str
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    hidden: NDArray[np.float64]
    hidden_bias: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    temperature: float
    offset: float
    spread: NDArray[np.float64]
    familiar: float
    doubt: float

    def __post_init__(self) -> None:
        units = self.hidden_bias.size
        for array, shape in (
            (self.mean, (len(NAMES),)),
            (self.scale, (len(NAMES),)),
            (self.hidden, (len(NAMES), units)),
            (self.hidden_bias, (units,)),
            (self.weights, (units, len(CLASSES))),
            (self.bias, (len(CLASSES),)),
            (self.spread, (len(NAMES), len(NAMES))),
        ):
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"model {self.name}: an array of shape {array.shape} is not a finite one of {shape}")
        if not (self.scale > 0.0).all() or not self.temperature > 0.0 or not math.isfinite(self.offset):
            raise ValueError(f"model {self.name}: a scale or temperature is not above 0")

    def judge(self, samples: NDArray[np.float32], onset: float, rate_hz: int) -> Judgement:
        """The evidence of the impulse that begins at sample ``onset``.

        Flagged "unfamiliar" where it is unlike all training, and "abstained" there, wherever the evidence is weak, and
        where the converter was at its end most of the time.
        """
        judgement = self.judge_features(features(samples, onset, rate_hz))
        if overloaded(samples, onset, rate_hz):
            judgement = replace(judgement, flags=tuple(sorted({*judgement.flags, "abstained"})))
        return judgement

    def judge_features(self, vector: NDArray[np.float64]) -> Judgement:
        """The evidence of a vector of `acoustic.features.features`."""
        z = (vector - self.mean) / self.scale
        # Summed by numpy, not by BLAS: the same bits for any number of threads.
        inside = np.tanh((np.clip(z, -Z_LIMIT, Z_LIMIT)[:, np.newaxis] * self.hidden).sum(axis=0) + self.hidden_bias)
        logits = (inside[:, np.newaxis] * self.weights).sum(axis=0) + self.bias
        llr = log_odds(logits) / self.temperature + self.offset
        llr = min(max(llr, -LLR_BOUND), LLR_BOUND)
        others = np.exp((logits[1:] - logits[1:].max()) / self.temperature)
        unfamiliar = self.strangeness(z) > self.familiar
        flags = ("abstained",) if unfamiliar or abs(llr) < self.doubt else ()
        return Judgement(
            llr, probabilities_from_llr(llr, others.tolist()), (*flags, "unfamiliar") if unfamiliar else flags
        )

    def strangeness(self, z: NDArray[np.float64]) -> float:
        """Squared Mahalanobis distance of standardised features (f,) from training, over their number."""
        apart = (np.clip(z, -FAR, FAR)[:, np.newaxis] * self.spread).sum(axis=0)
        return float(np.mean(apart * apart))


def overloaded(samples: NDArray[np.float32], onset: float, rate_hz: int) -> bool:
    """Whether over a third of the 50 ms behind ``onset`` stands at the two extremes: no sound is left to be judged."""
    first = max(math.floor(onset), 0)
    body = samples[first : first + round(OVERLOAD_S * rate_hz)]
    if not body.size:
        return False
    middle = 0.5 * (float(body.max()) + float(body.min()))
    reach = 0.98 * (float(body.max()) - middle)
    return reach > 0.0 and float(np.mean(np.abs(body - middle) >= reach)) > OVERLOADED


def log_odds(logits: NDArray[np.float64]) -> float:
    """Logarithm of the odds of the first class against the others together, from (5,) logits."""
    top = float(logits[1:].max())
    return float(logits[0]) - top - math.log(float(np.exp(logits[1:] - top).sum()))


BROKEN: Final = (
    OSError, EOFError, KeyError, ValueError, TypeError, RuntimeError, NotImplementedError, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip
"""What a file raises that was cut short, altered, or never was a model."""


def load(path: Path) -> Perceptron:
    """Read a model written by fixtures/builders/classifier.py.

    Raises
    ------
    ValueError
        When the file is no such model, or no longer gives the answer to its own test sound that it gave when it was
        trained: a changed file, or features that are no longer computed in the same way.
    """
    try:
        model, sound, expected = _read(path)
        answer = model.judge(sound, BEFORE_S * COMMON_RATE_HZ, COMMON_RATE_HZ).llr
    except BROKEN as error:
        raise ValueError(f"{path.name} is not a model of this version ({error}): train or install it again") from None
    if not math.isclose(answer, expected, rel_tol=0.0, abs_tol=SELF_TEST_TOLERANCE):
        raise ValueError(f"{path.name} answers {answer} where it was trained to answer {expected}: install it again")
    return model


def _read(path: Path) -> tuple[Perceptron, NDArray[np.float32], float]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        if stored["features"].tolist() != list(NAMES):
            raise ValueError("it was trained on other features")
        model = Perceptron(
            name=str(stored["name"]),
            mean=stored["mean"],
            scale=stored["scale"],
            hidden=stored["hidden"],
            hidden_bias=stored["hidden_bias"],
            weights=stored["weights"],
            bias=stored["bias"],
            temperature=float(stored["temperature"]),
            offset=float(stored["offset"]),
            spread=stored["spread"].astype(np.float64),
            familiar=float(stored["familiar"]),
            doubt=float(stored["doubt"]),
        )
        return model, stored["test_sound"].astype(np.float32), float(stored["test_llr"])


@functools.cache
def built_in() -> Classifier:
    """The model that comes with the package; docs/model.md is its card."""
    return load(MODEL_PATH)
