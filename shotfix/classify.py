"""Classify: one sound file, judged whole, as a line for a machine to read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acoustic.detection import likeliest, probability
from acoustic.whole import judge_whole
from sensors.recording import RecordingError, read_blocks

if TYPE_CHECKING:
    from acoustic.whole import Event

ANY_INSTANT_NS = 0


def judge_file(path: Path) -> dict[str, Any]:
    """The classify line of one file: its strongest event and all events, or its name and what is wrong with it."""
    try:
        blocks = list(read_blocks(path, ANY_INSTANT_NS, channels=[0]))
    except (RecordingError, OSError) as error:
        return {"file": str(path), "error": " ".join(str(error).split())}
    whole = judge_whole(np.concatenate([block.first_channel for block in blocks]), blocks[0].rate_hz)
    return {"file": str(path), **_values(whole.strongest), "events": [_event(event) for event in whole.events]}


def _values(event: Event) -> dict[str, Any]:
    judgement = event.judgement
    return {
        "p_gunshot": round(probability(judgement.llr), 6),
        "llr": round(judgement.llr, 4),
        "class": likeliest(judgement.probabilities),
    }


def _event(event: Event) -> dict[str, Any]:
    return {"onset_s": round(event.onset_s, 6), **_values(event), "snr_db": round(event.snr_db, 2)}
