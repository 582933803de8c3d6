"""Streams: 48 kHz microphones that send all of their sound, of which one core hears so many, beside decoding alone."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from acoustic.block import AudioBlock
from benchmarks.speed.front_end import RATE_HZ, SECONDS, street_minute
from sensors.chunker import Chunker
from sensors.hearing import Setup
from shotfix.hearing_bench import Bench, encode_answer
from shotfix.hearing_pool import HearingPool, Submitted

if TYPE_CHECKING:
    from sensors.chunk import AudioChunk

REPEATS = 5
BITS = 24
LOADS = (0, 1, 7)  # impulses in the minute
STREAMS = 12  # at once, in turn, so that no stream has the processor's caches to itself
PACED_S = 20.0
SHARE = 0.7  # of what the worker could do, paced as microphones pace it
START_NS = 1_795_000_000_000_000_000
BOOT = "00000000"


def measure(_data: Path | None) -> str:
    chunks = {shots: _chunks(shots) for shots in LOADS}
    size = statistics.fmean(len(chunk.flac) for chunk in chunks[1])
    rows = [_row("decoding alone: FLAC to samples", _cost(lambda: _decoded(chunks[1])))]
    for shots in LOADS:
        name = f"decoding and hearing, {shots} impulses a minute, answers written"
        rows.append(_row(name, _cost(lambda shots=shots: _heard(chunks[shots]))))
    rows.append(_row("for comparison, a sender: blocks of 10 ms to FLAC", _cost(_sent)))
    streams, owner, paced = _in_processes(chunks[1])
    return (
        f"{SECONDS} s of a street at 48 kHz and {BITS} bits, {size / 1000:.0f} kB a second as FLAC; {STREAMS} streams "
        f"in turn; streams in real time on one core, by the processor's time, medians of {REPEATS}.\n\n"
        "| | streams |\n|---|---|\n" + "\n".join(rows) + "\n\n"
        f"One worker process, fed by its owner as fast as it takes: {streams:,.0f} streams for each core of the "
        f"worker, and {owner:,.0f} for each core of the owner, which hands chunks over and takes answers. {paced}"
    )


def _row(name: str, seconds: float) -> str:
    return f"| {name} | {SECONDS / seconds:,.0f} |"


def _cost(way) -> float:
    """Seconds of the processor for one stream's minute."""
    way()
    taken = []
    for _ in range(REPEATS):
        began = time.process_time()
        way()
        taken.append(time.process_time() - began)
    return statistics.median(taken) / STREAMS


def _decoded(chunks: list[AudioChunk]) -> None:
    for chunk in chunks:
        for _ in range(STREAMS):
            chunk.block()


def _heard(chunks: list[AudioChunk]) -> None:
    names = [f"s{k}" for k in range(STREAMS)]
    bench = Bench(Setup(name, full_scale_db_spl=110.0) for name in names)
    for number, chunk in enumerate(chunks):
        for name in names:
            encode_answer(bench.hear((name, BOOT, number), replace(chunk, sensor_id=name)))


def _sent() -> None:
    sound = _minute(1)
    for _ in range(STREAMS):
        chunker = Chunker("s", "s")
        for at in range(0, sound.size, 480):
            start_ns = START_NS + at * 1_000_000_000 // RATE_HZ
            chunker.take(AudioBlock(sound[at : at + 480], RATE_HZ, start_ns, after_gap=at == 0))


def _in_processes(chunks: list[AudioChunk]) -> tuple[float, float, str]:
    """Streams for a core of a real worker and for one of its owner; and how real time went."""
    names = [f"s{k}" for k in range(STREAMS)]
    with HearingPool({name: Setup(name, full_scale_db_spl=110.0) for name in names}) as pool:
        _begin(pool, names, chunks)
        worker_s, owner_s = _worker_seconds(pool), time.process_time()
        _submit(pool, names, chunks)
        _drain(pool)
        worker_s, owner_s = _worker_seconds(pool) - worker_s, time.process_time() - owner_s
        streams = STREAMS * SECONDS / worker_s
    return streams, STREAMS * SECONDS / owner_s, _paced(chunks, round(SHARE * streams))


def _paced(chunks: list[AudioChunk], streams: int) -> str:
    names = [f"s{k}" for k in range(streams)]
    refused, most_behind = 0, 0
    with HearingPool(
        {name: Setup(name, full_scale_db_spl=110.0) for name in names}, most_unanswered=2 * streams
    ) as pool:
        _begin(pool, names, chunks)
        began_s = time.monotonic()
        for number, name in itertools.product(range(round(PACED_S)), range(streams)):
            due_s = began_s + number + name / streams
            while time.monotonic() < due_s:
                pool.poll(max(due_s - time.monotonic(), 0.0))
            became = pool.submit(names[name], BOOT, number, replace(chunks[number], sensor_id=names[name]))
            refused += became != Submitted.TAKEN
            most_behind = max(most_behind, pool.unanswered)
        _drain(pool)
        late_s = time.monotonic() - began_s - PACED_S
    return (
        f"At the pace of microphones, {streams:,d} streams for {PACED_S:.0f} s: {refused} chunks refused, at most "
        f"{most_behind} waiting, the last one heard {max(late_s, 0.0):.1f} s after it came."
    )


def _begin(pool: HearingPool, names: list[str], chunks: list[AudioChunk]) -> None:
    """Another boot's two seconds, so that the worker is there and warm."""
    _submit(pool, names, [replace(chunk, epoch="before") for chunk in chunks[:2]], "ffffffff")
    _drain(pool)


def _submit(pool: HearingPool, names: list[str], chunks: list[AudioChunk], boot: str = BOOT) -> None:
    for number, chunk in enumerate(chunks):
        for name in names:
            while pool.submit(name, boot, number, replace(chunk, sensor_id=name)) == Submitted.FULL:
                pool.poll(1.0)


def _drain(pool: HearingPool) -> None:
    while pool.unanswered:
        pool.poll(1.0)


def _worker_seconds(pool: HearingPool) -> float:
    """Processor time of the first worker so far, as proc(5) tells it: user and system, in ticks."""
    fields = Path(f"/proc/{pool.process_ids[0]}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _chunks(shots: int) -> list[AudioChunk]:
    chunker = Chunker("s", "s")
    sound = _minute(shots)
    return list(chunker.take(AudioBlock(sound, RATE_HZ, START_NS, after_gap=True)))


def _minute(shots: int):
    sound = street_minute(shots)
    return (np.round(np.clip(sound, -1.0, 0.99) * 2 ** (BITS - 1)) / 2 ** (BITS - 1)).astype(np.float32)
