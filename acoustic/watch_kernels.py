"""The loops of the watch; `tests/naive.py` has the same one sample at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What happens, as `acoustic.watch.Kind` has it.
ARMED: Final = 1
DEAF: Final = 2
LOUD: Final = 3

# Whole numbers between two calls, (INTEGERS,) int64.
WATCHED: Final = 0  # samples judged, ever
HAVE: Final = 1  # samples in the block that is being filled
GOOD: Final = 2  # samples since the stream last became usable
SAME: Final = 3  # length of the present run of exactly equal samples
IS_ARMED: Final = 4
FAULTY: Final = 5  # ever
CLIPPED: Final = 6  # ever
IN_GROUP: Final = 7  # blocks in the group that is being filled
GROUP_LOUD: Final = 8  # whether one of them was loud
LOUD_GROUPS: Final = 9  # loud groups in a row
COUNT: Final = 10  # groups in the ring of the floor
NEXT: Final = 11  # where in that ring the next one goes
SEEN: Final = 12  # samples of the block being filled that were examined already, behind a fault
INTEGERS: Final = 13

# Real numbers between two calls, (REALS,) float64.
LAST: Final = 0  # the sample before
GROUP_MOST: Final = 1  # greatest energy of a block in the group that is being filled
FLOOR: Final = 2  # median of the ring
RING: Final = 3
GROUPS: Final = 24  # half a second of groups
SORTED: Final = RING + GROUPS
REALS: Final = SORTED + GROUPS

GROUP: Final = 16  # blocks: about 20 ms

# Settings, (5,) float64, filled by acoustic/watch.py.
SET_WARMUP: Final = 0  # samples
SET_SILENCE: Final = 1  # samples
SET_RATIO: Final = 2
SET_LONGEST: Final = 3  # groups
SET_LOWEST: Final = 4  # energy of a block

LARGEST: Final = 1e6  # of full scale: beyond it a sample is no sound
FULL_SCALE: Final = np.float32(0.97)  # converters and their drivers clip a little below 1
LOUD_POWER: Final = np.float32(0.94)  # a block with less, summed, has no sample at full scale


@numba.njit(cache=True, nogil=True)
def learn(energy: float, lowest: float, integers: NDArray[np.int64], reals: NDArray[np.float64]) -> None:
    """Put one group's greatest energy into the ring, the oldest out of it, and take the median."""
    count = integers[COUNT]
    if count == GROUPS:
        oldest = reals[RING + integers[NEXT]]
        k = SORTED
        while reals[k] != oldest:
            k += 1
        while k < SORTED + count - 1:
            reals[k] = reals[k + 1]
            k += 1
        count -= 1
    k = SORTED + count
    while k > SORTED and reals[k - 1] > energy:
        reals[k] = reals[k - 1]
        k -= 1
    reals[k] = energy
    count += 1
    reals[RING + integers[NEXT]] = energy
    integers[NEXT] = (integers[NEXT] + 1) % GROUPS
    integers[COUNT] = count
    reals[FLOOR] = max(reals[SORTED + count // 2], lowest)


@numba.njit(cache=True, nogil=True)
def forget(integers: NDArray[np.int64], reals: NDArray[np.float64]) -> None:
    """Forget the stream, but not what was counted, nor the present run of equal samples."""
    for k in (HAVE, GOOD, IS_ARMED, IN_GROUP, GROUP_LOUD, LOUD_GROUPS, COUNT, NEXT, SEEN):
        integers[k] = 0
    last = reals[LAST]
    reals[:] = 0.0
    reals[LAST] = last


@numba.njit(cache=True, nogil=True)
def note(found: NDArray[np.int64], n: int, kind: int, at: int, back: int, integers: NDArray[np.int64]) -> int:
    """Write down what happened, with what was counted by then; how many there are."""
    found[n, 0], found[n, 1], found[n, 2] = kind, at, back
    found[n, 3], found[n, 4] = integers[FAULTY], integers[CLIPPED]
    return n + 1


@numba.njit(cache=True, nogil=True)
def examine(
    tail: NDArray[np.float32],
    reach: int,
    block: int,
    settings: NDArray[np.float64],
    integers: NDArray[np.int64],
    reals: NDArray[np.float64],
    found: NDArray[np.int64],
    n: int,
) -> int:
    """Go through a full block sample by sample; what is usable behind a fault begins a new one."""
    silence = int(settings[SET_SILENCE])
    kept = integers[SEEN]
    fresh = integers[GOOD] == 0 and kept == 0
    good = integers[GOOD] + kept
    for k in range(kept, block):
        value = tail[reach + k]
        at = integers[WATCHED] + k + 1
        broken = not abs(value) <= LARGEST  # NaN too
        if broken:
            integers[SAME] = 0
        else:
            same = integers[SAME] > 0 and np.float64(value) == reals[LAST]
            integers[SAME] = integers[SAME] + 1 if same else 1
            reals[LAST] = value
            if abs(value) >= FULL_SCALE:
                integers[CLIPPED] += 1
        if broken or integers[SAME] >= silence:
            back = 1 if broken else silence
            integers[FAULTY] += 1 if broken or integers[SAME] > silence else silence
            if integers[IS_ARMED]:
                n = note(found, n, DEAF, at, back, integers)
            forget(integers, reals)
            fresh, kept, good = True, 0, 0
            continue
        if fresh:  # nothing went before: what the comb reaches back to is filled with what comes first
            tail[:reach] = value
            fresh = False
        tail[reach + kept] = value
        kept += 1
        good += 1
    integers[HAVE] = kept
    integers[SEEN] = kept if kept < block else 0
    if kept < block:  # not judged, nor whole: its usable end is in the next one
        integers[WATCHED] += block - kept
    integers[GOOD] = good - kept
    return n


@numba.njit(cache=True, nogil=True)
def judge(
    sums: NDArray[np.float32],
    blocks: int,
    block: int,
    settings: NDArray[np.float64],
    integers: NDArray[np.int64],
    reals: NDArray[np.float64],
    found: NDArray[np.int64],
    n: int,
) -> int:
    """Which blocks are loud; the floor and the warm-up."""
    armed, good, watched = integers[IS_ARMED] != 0, integers[GOOD], integers[WATCHED]
    most, in_group, loud = np.float32(reals[GROUP_MOST]), integers[IN_GROUP], integers[GROUP_LOUD] != 0
    warmup = np.int64(settings[SET_WARMUP])
    threshold = np.float32(settings[SET_RATIO] * reals[FLOOR])
    for b in range(blocks):
        energy = sums[0, b]
        watched += block
        good += block
        most = max(most, energy)
        if armed and energy >= threshold:
            n = note(found, n, LOUD, watched, block, integers)
            loud = True
        in_group += 1
        if in_group == GROUP:
            integers[LOUD_GROUPS] = integers[LOUD_GROUPS] + 1 if loud else 0
            if not loud or integers[LOUD_GROUPS] > settings[SET_LONGEST]:
                learn(np.float64(most), settings[SET_LOWEST], integers, reals)
                threshold = np.float32(settings[SET_RATIO] * reals[FLOOR])
            in_group, loud, most = 0, False, np.float32(0.0)
        if not armed and good >= warmup:
            armed = True
            n = note(found, n, ARMED, watched, good, integers)
    integers[IS_ARMED], integers[GOOD], integers[WATCHED] = armed, good, watched
    reals[GROUP_MOST], integers[IN_GROUP], integers[GROUP_LOUD] = most, in_group, loud
    return n


@numba.njit(cache=True, nogil=True)
def trailing_run(samples: NDArray[np.float32], end: int, most: int) -> int:
    """How many samples before ``end`` are exactly equal, ``most`` at most."""
    run = 1
    while run < most and samples[end - 1 - run] == samples[end - 1]:
        run += 1
    return run


def _measure_of(block: int, lag: int) -> Callable[..., None]:
    """The loop over blocks for one length and one lag, both known to the compiler."""
    reach = lag + 1

    # Sums may be taken in any order, so that they are taken in vectors; the same order for every call.
    @numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
    def measure(source: NDArray[np.float32], blocks: int, sums: NDArray[np.float32]) -> None:
        for b in range(blocks):
            first = b * block
            energy, power = np.float32(0.0), np.float32(0.0)
            for k in range(block):
                value = source[first + reach + k]
                step = (value + source[first + lag + k]) - (source[first + k + 1] + source[first + k])
                energy += step * step
                power += value * value
            sums[0, b] = energy
            sums[1, b] = power

    return measure


# A loop that is handed to another as a closure would be compiled at every start: numba does not find it in its cache.
_measure_16_1 = _measure_of(16, 1)
_measure_16_2 = _measure_of(16, 2)
_measure_16_3 = _measure_of(16, 3)
_measure_32_4 = _measure_of(32, 4)
_measure_32_5 = _measure_of(32, 5)
_measure_64_8 = _measure_of(64, 8)
_measure_128_16 = _measure_of(128, 16)
_measure_256_32 = _measure_of(256, 32)


@numba.njit(cache=True, nogil=True)
def measure(lag: int, source: NDArray[np.float32], blocks: int, sums: NDArray[np.float32]) -> None:
    """Energy of the comb's output, and of the samples, in each block; ``source`` begins ``lag + 1`` before them."""
    if lag == 8:
        _measure_64_8(source, blocks, sums)
    elif lag == 2:
        _measure_16_2(source, blocks, sums)
    elif lag == 3:
        _measure_16_3(source, blocks, sums)
    elif lag == 1:
        _measure_16_1(source, blocks, sums)
    elif lag == 4:
        _measure_32_4(source, blocks, sums)
    elif lag == 5:
        _measure_32_5(source, blocks, sums)
    elif lag == 16:
        _measure_128_16(source, blocks, sums)
    else:
        _measure_256_32(source, blocks, sums)


@numba.njit(cache=True, nogil=True)
def scan(
    block: int,
    lag: int,
    samples: NDArray[np.float32],
    tail: NDArray[np.float32],
    tail_read: NDArray[np.float32],
    sums: NDArray[np.float32],
    settings: NDArray[np.float64],
    integers: NDArray[np.int64],
    reals: NDArray[np.float64],
    found: NDArray[np.int64],
) -> int:
    """Watch samples (n,), read only, that follow on those of the call before; how many things happened.

    ``block`` and ``lag`` are those of one of `acoustic.watch.SHAPES`; ``tail`` (lag + 1 + block,) keeps what the comb
    reaches back to and the block that is being filled, ``tail_read`` is the same memory, read only; ``sums`` (2, m) is
    room for m blocks at once; ``found`` (most, 5) receives kind, end, length, and what was counted as faulty and
    clipped by then.
    """
    n, i, count, reach = 0, 0, samples.size, lag + 1
    silence = int(settings[SET_SILENCE])
    while True:
        if integers[HAVE] == 0 and i >= reach and i + block <= count and integers[GOOD] > 0:
            blocks = min((count - i) // block, sums.shape[1])
            measure(lag, samples[i - reach :], blocks, sums)
            usual = 0
            # Runs of equal samples are short, or seen at the end of a block; a block within one is examined.
            while usual < blocks and sums[1, usual] < LOUD_POWER and integers[SAME] + block < silence:
                i += block
                usual += 1
                run = trailing_run(samples, i, block + 1)
                integers[SAME] = run if run <= block else integers[SAME] + block
            if usual:
                n = judge(sums, usual, block, settings, integers, reals, found, n)
                reals[LAST] = samples[i - 1]
                for k in range(reach):
                    tail[k] = samples[i - reach + k]
                continue
        have = integers[HAVE]
        take = min(block - have, count - i)
        for k in range(take):
            tail[reach + have + k] = samples[i + k]
        i += take
        integers[HAVE] = have + take
        if have + take < block:
            return n
        n = examine(tail, reach, block, settings, integers, reals, found, n)
        if integers[HAVE] < block:
            continue
        measure(lag, tail_read, 1, sums)
        for k in range(reach):
            tail[k] = tail[block + k]
        integers[HAVE] = 0
        n = judge(sums, 1, block, settings, integers, reals, found, n)
