"""The loops over samples: plain numbers and arrays in, numbers out. Every one has a slow twin in tests/naive.py."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# States of the gate. acoustic/gate.py has the table of what leads from one to the next.
WARMUP: Final = 0
ARMED: Final = 1
TRIGGERED: Final = 2
CODA: Final = 3

# The gate's whole numbers between two calls, (INTEGERS,) int64.
STATE: Final = 0  # one of the four above
GOOD: Final = 1  # samples since the stream last became usable
SAME: Final = 2  # length of the present run of exactly equal samples
IN_FRAME: Final = 3  # samples in the frame that is being filled
FRAMES: Final = 4  # frames since the stream last became usable
SINCE: Final = 5  # frames since the last trigger
QUIET: Final = 6  # frames in a row below the threshold
FLOOR_COUNT: Final = 7  # maxima in the ring of the floor
FLOOR_NEXT: Final = 8  # where in that ring the next one goes
FAULTY: Final = 9  # samples that were NaN, infinite or digital silence, ever
CLIPPED: Final = 10  # samples at full scale, ever
SUPPRESSED: Final = 11  # impulses over the limit of rate, ever
INTEGERS: Final = 12

# Its real numbers, (REALS,) float64.
FILTER: Final = 0  # 4: two numbers for each of two sections
LAST: Final = 4  # the sample before
FRAME_PEAK: Final = 5  # of the frame that is being filled
TEN_PEAK: Final = 6  # of the ten frames that are being filled
FLOOR: Final = 7  # median of the ring
TOKENS: Final = 8  # impulses that may still be reported, see `gate`
HISTORY: Final = 9  # 16 frame peaks, a ring
FLOOR_RING: Final = 25  # 50 ten-frame peaks in order of time, a ring
FLOOR_SORTED: Final = 75  # the same in order of size
REALS: Final = 125

HISTORY_FRAMES: Final = 16
FLOOR_TENS: Final = 50  # half a second

# The gate's settings, (SETTINGS,) float64, filled by acoustic/gate.py.
SET_FRAME: Final = 0  # samples in a frame
SET_WARMUP: Final = 1  # samples
SET_SILENCE: Final = 2  # samples
SET_ON: Final = 3  # threshold over the floor
SET_RISE: Final = 4  # least rise over the peak 3 to 13 frames before
SET_DEAD: Final = 5  # frames after a trigger without another
SET_CALM: Final = 6  # quiet frames that end a coda
SET_LONGEST_CODA: Final = 7  # frames
SET_LOWEST_FLOOR: Final = 8
SET_TOKENS: Final = 9  # impulses that may follow each other at any rate
SET_REFILL: Final = 10  # impulses a frame that may go on for ever
SET_RESERVE: Final = 11  # the last tokens, kept for strong impulses
SET_STRONG: Final = 12  # what is strong, over the floor
SET_TRUSTED: Final = 13  # whether somebody else makes sure that every sample is usable
SETTINGS: Final = 14

LARGEST: Final = 1e6  # of full scale: a sample beyond it is no sound, and squares of it would overflow
FULL_SCALE: Final = 0.97  # converters and their drivers clip a little below 1


@numba.njit(cache=True, nogil=True)
def _restart(integers: NDArray[np.int64], reals: NDArray[np.float64]) -> None:
    """Forget the stream, but not what was counted, nor the present run of equal samples."""
    for k in (STATE, GOOD, IN_FRAME, FRAMES, SINCE, QUIET, FLOOR_COUNT, FLOOR_NEXT):
        integers[k] = 0
    last, tokens = reals[LAST], reals[TOKENS]
    reals[:] = 0.0
    reals[LAST] = last
    reals[TOKENS] = tokens


@numba.njit(cache=True, nogil=True)
def _settle(x: float, sections: NDArray[np.float64], reals: NDArray[np.float64]) -> None:
    """Set the filters to where they would be had ``x`` lasted for ever: a constant offset makes no step."""
    for k in range(2):
        b0, b1, b2, a1, a2 = sections[k]
        y = x * (b0 + b1 + b2) / (1.0 + a1 + a2)
        reals[FILTER + 2 * k + 1] = b2 * x - a2 * y
        reals[FILTER + 2 * k] = b1 * x - a1 * y + reals[FILTER + 2 * k + 1]
        x = y


@numba.njit(cache=True, nogil=True)
def _filter(x: float, sections: NDArray[np.float64], reals: NDArray[np.float64]) -> float:
    """One sample through both sections, transposed direct form II."""
    y = x
    for k in range(2):
        y = sections[k, 0] * x + reals[FILTER + 2 * k]
        reals[FILTER + 2 * k] = (sections[k, 1] * x + reals[FILTER + 2 * k + 1]) - sections[k, 3] * y
        reals[FILTER + 2 * k + 1] = sections[k, 2] * x - sections[k, 4] * y
        x = y
    return y


@numba.njit(cache=True, nogil=True)
def _learn_floor(peak: float, lowest: float, integers: NDArray[np.int64], reals: NDArray[np.float64]) -> None:
    """Put one ten-frame peak into the ring in place of the oldest, keep the sorted copy sorted, take the median."""
    count = integers[FLOOR_COUNT]
    if count == FLOOR_TENS:  # take the oldest out of the sorted copy
        oldest = reals[FLOOR_RING + integers[FLOOR_NEXT]]
        k = FLOOR_SORTED
        while reals[k] != oldest:
            k += 1
        while k < FLOOR_SORTED + count - 1:
            reals[k] = reals[k + 1]
            k += 1
        count -= 1
    k = FLOOR_SORTED + count
    while k > FLOOR_SORTED and reals[k - 1] > peak:
        reals[k] = reals[k - 1]
        k -= 1
    reals[k] = peak
    count += 1
    reals[FLOOR_RING + integers[FLOOR_NEXT]] = peak
    integers[FLOOR_NEXT] = (integers[FLOOR_NEXT] + 1) % FLOOR_TENS
    integers[FLOOR_COUNT] = count
    reals[FLOOR] = max(reals[FLOOR_SORTED + count // 2], lowest)


@numba.njit(cache=True, nogil=True)
def _end_frame(settings: NDArray[np.float64], integers: NDArray[np.int64], reals: NDArray[np.float64]) -> bool:
    """Close a frame: floor, state, trigger. Whether an impulse is to be reported."""
    peak = reals[FRAME_PEAK]
    reals[FRAME_PEAK] = 0.0
    integers[IN_FRAME] = 0
    frames = integers[FRAMES]
    before = 0.0
    for ago in range(3, 14):
        before = max(before, reals[HISTORY + (frames - ago) % HISTORY_FRAMES])
    reals[HISTORY + frames % HISTORY_FRAMES] = peak
    integers[FRAMES] = frames + 1
    integers[SINCE] += 1
    reals[TEN_PEAK] = max(reals[TEN_PEAK], peak)
    reals[TOKENS] = min(reals[TOKENS] + settings[SET_REFILL], settings[SET_TOKENS])
    state = integers[STATE]
    if (frames + 1) % 10 == 0:
        if state in (WARMUP, ARMED):
            _learn_floor(reals[TEN_PEAK], settings[SET_LOWEST_FLOOR], integers, reals)
        reals[TEN_PEAK] = 0.0
    if state == WARMUP:
        if integers[GOOD] >= settings[SET_WARMUP]:
            integers[STATE] = ARMED
        return False
    if state == TRIGGERED:
        if integers[SINCE] >= settings[SET_DEAD]:
            integers[STATE] = CODA
            integers[QUIET] = 0
        return False
    threshold = settings[SET_ON] * reals[FLOOR]
    if peak >= threshold and peak >= settings[SET_RISE] * before:
        integers[STATE] = TRIGGERED
        integers[SINCE] = 0
        strong = peak >= settings[SET_STRONG] * reals[FLOOR]
        if reals[TOKENS] < (1.0 if strong else 1.0 + settings[SET_RESERVE]):
            integers[SUPPRESSED] += 1
            return False
        reals[TOKENS] -= 1.0
        return True
    if state == CODA:
        integers[QUIET] = integers[QUIET] + 1 if peak < threshold else 0
        if integers[QUIET] >= settings[SET_CALM] or integers[SINCE] >= settings[SET_LONGEST_CODA]:
            integers[STATE] = ARMED
    return False


@numba.njit(cache=True, nogil=True)
def _quickly(
    samples: NDArray[np.float32],
    start: int,
    stop: int,
    sections: NDArray[np.float64],
    integers: NDArray[np.int64],
    reals: NDArray[np.float64],
    filtered: NDArray[np.float32],
) -> int:
    """Filter samples of one frame for as long as they are usable; how many there were."""
    b0, b1, b2, a1, a2 = sections[0]
    c0, c1, c2, d1, d2 = sections[1]
    s0, s1, s2, s3 = reals[FILTER], reals[FILTER + 1], reals[FILTER + 2], reals[FILTER + 3]
    last, peak, same, clipped = reals[LAST], reals[FRAME_PEAK], integers[SAME], 0
    taken = 0
    for i in range(start, stop):
        x = np.float64(samples[i])
        if not abs(x) <= LARGEST:
            break
        same = same + 1 if x == last and same > 0 else 1
        last = x
        if abs(x) >= FULL_SCALE:
            clipped += 1
        y = b0 * x + s0
        s0 = (b1 * x + s1) - a1 * y
        s1 = b2 * x - a2 * y
        z = c0 * y + s2
        s2 = (c1 * y + s3) - d1 * z
        s3 = c2 * y - d2 * z
        filtered[i] = z
        peak = max(peak, abs(z))
        taken += 1
    reals[FILTER], reals[FILTER + 1], reals[FILTER + 2], reals[FILTER + 3] = s0, s1, s2, s3
    reals[LAST], reals[FRAME_PEAK], integers[SAME] = last, peak, same
    integers[CLIPPED] += clipped
    integers[GOOD] += taken
    integers[IN_FRAME] += taken
    return taken


@numba.njit(cache=True, nogil=True)
def _through(
    samples: NDArray[np.float32],
    start: int,
    stop: int,
    sections: NDArray[np.float64],
    integers: NDArray[np.int64],
    reals: NDArray[np.float64],
    filtered: NDArray[np.float32],
) -> int:
    """Filter samples that are known to be usable; how many there were."""
    b0, b1, b2, a1, a2 = sections[0]
    c0, c1, c2, d1, d2 = sections[1]
    s0, s1, s2, s3 = reals[FILTER], reals[FILTER + 1], reals[FILTER + 2], reals[FILTER + 3]
    peak = reals[FRAME_PEAK]
    source, result = samples[start:stop], filtered[start:stop]
    for i in range(source.size):
        x = np.float64(source[i])
        y = b0 * x + s0
        z = c0 * y + s2
        # What does not wait for the output comes first: the loop is as fast as the chain from one output to the next.
        s0 = (b1 * x + s1) - a1 * y
        s1 = b2 * x - a2 * y
        s2 = (c1 * y + s3) - d1 * z
        s3 = c2 * y - d2 * z
        result[i] = z
        peak = max(peak, abs(z))
    reals[FILTER], reals[FILTER + 1], reals[FILTER + 2], reals[FILTER + 3] = s0, s1, s2, s3
    reals[FRAME_PEAK] = peak
    integers[GOOD] += stop - start
    integers[IN_FRAME] += stop - start
    return stop - start


@numba.njit(cache=True, nogil=True)
def _carefully(
    sample: np.float32,
    silence: int,
    sections: NDArray[np.float64],
    integers: NDArray[np.int64],
    reals: NDArray[np.float64],
    filtered: NDArray[np.float32],
    i: int,
) -> int:
    """Take one sample that may begin a stream, or end one: then minus how many samples turned out unusable."""
    x = np.float64(sample)
    listening = integers[STATE] != WARMUP
    if not abs(x) <= LARGEST:  # NaN too
        integers[FAULTY] += 1
        integers[SAME] = 0
        filtered[i] = 0.0
        _restart(integers, reals)
        return -1 if listening else 0
    same = integers[SAME] > 0 and x == reals[LAST]
    integers[SAME] = integers[SAME] + 1 if same else 1
    reals[LAST] = x
    if abs(x) >= FULL_SCALE:
        integers[CLIPPED] += 1
    if integers[SAME] >= silence:
        filtered[i] = 0.0
        integers[FAULTY] += silence if integers[SAME] == silence else 1
        _restart(integers, reals)
        return -silence if listening else 0
    if integers[GOOD] == 0:
        _settle(x, sections, reals)
    integers[GOOD] += 1
    y = _filter(x, sections, reals)
    filtered[i] = y
    reals[FRAME_PEAK] = max(reals[FRAME_PEAK], abs(y))
    integers[IN_FRAME] += 1
    return 0


@numba.njit(cache=True, nogil=True)
def gate(
    samples: NDArray[np.float32],
    sections: NDArray[np.float64],
    settings: NDArray[np.float64],
    integers: NDArray[np.int64],
    reals: NDArray[np.float64],
    filtered: NDArray[np.float32],
    triggers: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Run over samples until they end, or until the stream changes between usable and not.

    Parameters
    ----------
    samples : (n,) float32
        What follows on the samples of the call before.
    sections : (2, 5) float64
        See `acoustic.filters.detection_band`.
    settings : (SETTINGS,) float64
    integers : (INTEGERS,) int64
        Kept between calls, as is ``reals``.
    reals : (REALS,) float64
    filtered : (n,) float32
        Filled with the band-passed samples.
    triggers : (m,) int64
        Filled with the index of the last sample of each frame that fired. ``m`` is at least n / (shortest dead
        time) + 2.

    Returns
    -------
    used : int
        Samples taken; fewer than n when something changed.
    n_triggers : int
    change : int
        0; 1 when the gate became armed after its warm-up; -k when the last k samples turned out unusable.
    """
    frame = int(settings[SET_FRAME])
    silence = int(settings[SET_SILENCE])
    n_triggers = 0
    n = samples.size
    i = 0
    while i < n:
        # The quick way, in which everything that changes with a sample stays in registers: to the end of the frame, of
        # the samples, or of what is usable.
        stop = min(n, i + frame - integers[IN_FRAME])
        if integers[GOOD] > 0 and settings[SET_TRUSTED] != 0.0:
            taken = _through(samples, i, stop, sections, integers, reals, filtered)
        elif integers[GOOD] > 0 and integers[SAME] + (stop - i) < silence:
            taken = _quickly(samples, i, stop, sections, integers, reals, filtered)
        else:
            taken = 0
        i += taken
        if taken == 0:
            change = _carefully(samples[i], silence, sections, integers, reals, filtered, i)
            i += 1
            if change < 0:
                return i, n_triggers, change
        if integers[IN_FRAME] < frame:
            continue
        was = integers[STATE]
        if _end_frame(settings, integers, reals):
            triggers[n_triggers] = i - 1
            n_triggers += 1
        if was == WARMUP and integers[STATE] == ARMED:
            return i, n_triggers, 1
    return n, n_triggers, 0


@numba.njit(cache=True, nogil=True)
def band_pass(samples: NDArray[np.float32], sections: NDArray[np.float64], filtered: NDArray[np.float32]) -> None:
    """Samples (n,) through both sections, which begin as if the first sample had lasted for ever; into ``filtered``."""
    reals, integers = np.zeros(REALS), np.zeros(INTEGERS, np.int64)
    if samples.size:
        _settle(np.float64(samples[0]), sections, reals)
    _through(samples, 0, samples.size, sections, integers, reals, filtered)


@numba.njit(cache=True, nogil=True)
def band_noise(samples: NDArray[np.float32], sections: NDArray[np.float64], settle: int, part: int) -> float:
    """Root mean square in the band: the median over parts of ``part`` samples, behind the first ``settle`` of them."""
    filtered = np.empty(samples.size, dtype=np.float32)
    band_pass(samples, sections, filtered)
    powers = np.zeros((samples.size - settle) // part)
    for k in range(powers.size):
        for i in range(settle + k * part, settle + (k + 1) * part):
            powers[k] += np.float64(filtered[i]) * np.float64(filtered[i])
    return math.sqrt(np.median(powers) / part)
