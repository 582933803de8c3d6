"""A recording judged whole: every impulse in it, and always its loudest moment, however short it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from acoustic.arrival import POST_S, PRE_S, find_arrival
from acoustic.classifier import Judgement, built_in
from acoustic.context import Bang, in_context
from acoustic.detection import probabilities_from_llr
from acoustic.gate import Gate
from acoustic.uncertainty import ECHO_MEMORY_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from acoustic.arrival import Arrival
    from acoustic.classifier import Classifier

PAD_S: Final = 0.5
"""Of made-up noise before and after: more than a gate's warm-up."""
EARLY_S: Final = 0.001  # an impulse that begins with the recording may be picked a little before it
QUIET_S: Final = 0.05
DITHER_DB: Final = -66.0  # under the file's peak: breaks digital silence, hides nothing that could be heard
LOWEST_DITHER: Final = 1e-6  # of full scale
NO_IMPULSE_LLR: Final = -2.0
"""Of recordings of gunshots 2 % have nothing that fires, of other sounds 23 %, each source with the same say."""
ECHO_RATIO: Final = 2.0  # 6 dB: of live-fire impulses that far below another, 1 in 250 was a shot of its own


@dataclass(frozen=True, slots=True)
class Event:
    """One impulse of a recording.

    Parameters
    ----------
    onset_s : float
        Seconds after the first sample, from 0 to the recording's length.
    snr_db : float
        As in `acoustic.pick.Pick`.
    judgement : Judgement
        Its evidence.
    """

    onset_s: float
    snr_db: float
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Whole:
    """A recording's impulses in order, and the event that speaks for all of it.

    What follows an impulse within a second and is 6 dB below it is taken for its echo and not listed; the others are
    judged in the light of those within ten seconds (`acoustic.context`). ``strongest`` is
    the event with the greatest log-likelihood ratio; without any, the recording's loudest moment.
    """

    events: tuple[Event, ...]
    strongest: Event


def judge_whole(samples: NDArray[np.float32], rate_hz: int, classifier: Classifier | None = None) -> Whole:
    """Judge a recording of any length, also one that begins or ends with its impulse.

    Half a second is put before and after it, so that a gate can warm up: the quietest 50 ms of the recording, there
    and back again, over and over. All of it gets white noise 66 dB under the peak, so that the silence between
    edited sounds does not make a gate deaf. An impulse that the recording cuts off is judged on what there is. Where
    nothing fires, the loudest moment is judged, and `NO_IMPULSE_LLR` added.

    Parameters
    ----------
    samples : (n,) float32
        At least one, all finite, in units of full scale.
    rate_hz : int
        8,000 to 192,000.
    classifier : Classifier or None
        None for the built-in model.

    Raises
    ------
    ValueError
        When there are no samples, or some are not finite.
    """
    if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all():
        raise ValueError("samples must be finite, in one channel, and at least one")
    longer, pad = padded(samples, rate_hz)
    gate, arrivals = Gate(rate_hz), []
    early = round(EARLY_S * rate_hz)
    filtered, triggers = _hear(gate, longer)
    for trigger in triggers:
        start, arrival = _arrival(longer, filtered, trigger, rate_hz)
        if pad - early <= start + round(arrival.index) < pad + samples.size:
            arrivals.append((start, arrival))
    arrivals = _direct(arrivals, rate_hz)
    model = classifier or built_in()
    events = tuple(_event(longer, pad, start, arrival, rate_hz, model) for start, arrival in arrivals)
    if events:
        events = _together(events, [arrival.peak for _, arrival in arrivals])
        return Whole(events, max(events, key=lambda event: event.judgement.llr))
    loudest = pad + int(np.argmax(np.abs(filtered[pad : pad + samples.size])))
    start, arrival = _arrival(longer, filtered, loudest, rate_hz)
    return Whole((), _no_impulse(_event(longer, pad, start, arrival, rate_hz, model)))


def _together(events: tuple[Event, ...], peaks: Sequence[float]) -> tuple[Event, ...]:
    """The events, each judged in the light of the others within ten seconds, before it and after it."""
    bangs = [Bang(event.onset_s, peak, event.judgement) for event, peak in zip(events, peaks, strict=True)]
    return tuple(replace(event, judgement=in_context(bang, bangs)) for event, bang in zip(events, bangs, strict=True))


def _no_impulse(event: Event) -> Event:
    """The loudest moment of a recording in which nothing fired, which is evidence by itself."""
    llr = event.judgement.llr + NO_IMPULSE_LLR
    probabilities = probabilities_from_llr(llr, event.judgement.probabilities[1:])
    return replace(event, judgement=replace(event.judgement, llr=llr, probabilities=probabilities))


def _direct(arrivals: list[tuple[int, Arrival]], rate_hz: int) -> list[tuple[int, Arrival]]:
    """The arrivals that are no echoes: none much louder came within the second before."""
    direct = []
    for place, (start, arrival) in enumerate(arrivals):
        at = start + arrival.index
        louder = (
            earlier.peak > arrival.peak * ECHO_RATIO and at - begin - earlier.index < ECHO_MEMORY_S * rate_hz
            for begin, earlier in arrivals[:place]
        )
        if not any(louder):
            direct.append((start, arrival))
    return direct


def padded(samples: NDArray[np.float32], rate_hz: int) -> tuple[NDArray[np.float32], int]:
    """The samples with quiet noise before, after and under them, and how many samples come before them."""
    pad = round(PAD_S * rate_hz)
    quiet = _quietest(samples, max(round(QUIET_S * rate_hz), 1))
    there_and_back = np.concatenate((quiet, quiet[::-1]))
    noise = np.resize(there_and_back, pad)
    dither = max(float(np.abs(samples - np.median(samples)).max()) * 10.0 ** (DITHER_DB / 20.0), LOWEST_DITHER)
    longer = np.concatenate((noise[::-1], samples, noise))
    # One seed for all: the same file is judged the same way every time.
    white = np.random.default_rng(0).standard_normal(longer.size, dtype=np.float32)
    return longer + np.float32(dither) * white, pad


def _quietest(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """The stretch of about ``length`` samples that moves least."""
    if samples.size <= length:
        return samples
    moves = np.square(np.diff(samples.astype(np.float64)))
    power = np.concatenate(([0.0], np.cumsum(moves)))
    start = int(np.argmin(power[length - 1 :] - power[: power.size - length + 1]))
    return samples[start : start + length]


def _hear(gate: Gate, padded: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[int]]:
    filtered: list[NDArray[np.float32]] = []
    triggers: list[int] = []
    done = 0
    while done < padded.size:
        heard = gate.hear(padded[done:])
        filtered.append(heard.filtered)
        triggers.extend(done + trigger for trigger in heard.triggers)
        done += heard.used
    return np.concatenate(filtered), triggers


def _arrival(
    padded: NDArray[np.float32], filtered: NDArray[np.float32], trigger: int, rate_hz: int
) -> tuple[int, Arrival]:
    start, stop = max(trigger - round(PRE_S * rate_hz), 0), trigger + round(POST_S * rate_hz)
    return start, find_arrival(padded[start:stop], filtered[start:stop], trigger - start, rate_hz)


def _event(
    padded: NDArray[np.float32], pad: int, start: int, arrival: Arrival, rate_hz: int, model: Classifier
) -> Event:
    window = padded[start : start + round((PRE_S + POST_S) * rate_hz)]
    onset_s = max(start + arrival.index - pad, 0.0) / rate_hz
    return Event(onset_s, arrival.snr_db, model.judge(window, arrival.index, rate_hz))
