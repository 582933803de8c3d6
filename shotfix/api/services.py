"""Services: what the API stands on; the centre makes them, and the API calls nothing else."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from shotfix.api.sound_quota import CLIPS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from alerts.alert import ModeOfUse
    from alerts.record.outbox import Outbox
    from alerts.record.store import Store
    from alerts.review.acts import Decision
    from alerts.review.reviews import Reviews
    from shotfix.api.people import People
    from shotfix.api.sensor_states import SensorState
    from shotfix.named_clips import NamedClips

KEY: Final = "api.key"
"""The file's name, in the centre's data folder."""
KEY_BYTES: Final = 32


class Clips(Protocol):
    """Where sound lies: `shotfix.clips.ClipStore` is one."""

    def path(self, sha256: str) -> Path | None:
        """The file of a digest; None when there is none."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the API stands on.

    Parameters
    ----------
    store, reviews, outbox : Store, Reviews, Outbox
        The record.
    clips : Clips
        Where sound lies.
    named_clips : NamedClips
        Which of it alerts name.
    people : People
        Who may speak to the API.
    submit : callable
        Hands a decision, which is written already, to the engine; its future is done when it is in the journal. What
        was not submitted is found again at the next start.
    sensors : callable
        The state of every sensor, now.
    couriers : sequence of str
        Who carries alerts, by name.
    now_ns : callable
        The wall clock, nanoseconds UTC.
    key : bytes
        Known to this centre alone; opaque names are made with it. See `read_key`.
    audio_for_researchers : bool
        Whether that role may fetch sound.
    clips_per_hour : int
        Different clips that one person may fetch.
    most_streams : int
        Event streams at one moment.
    mode : str
        Of this centre's own alerts: what figures are of where nobody asks for another.
    """

    store: Store
    reviews: Reviews
    outbox: Outbox
    clips: Clips
    named_clips: NamedClips
    people: People
    submit: Callable[[Decision], Future[bool]]
    sensors: Callable[[], Sequence[SensorState]]
    couriers: Sequence[str]
    now_ns: Callable[[], int]
    key: bytes = field(repr=False)
    audio_for_researchers: bool = False
    clips_per_hour: int = CLIPS_PER_HOUR
    most_streams: int = 1_000
    mode: ModeOfUse = "live"

    def __post_init__(self) -> None:
        if len(self.key) < KEY_BYTES:
            raise ValueError(f"the key has {len(self.key)} bytes: expected {KEY_BYTES} at least")


def read_key(path: Path) -> bytes:
    """The key in a file; made, for its owner's eyes alone, where there is none.

    Raises
    ------
    OSError
        When it can be neither read nor made.
    ValueError
        When what is there is no key.
    """
    if not path.exists():
        work = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        handle = os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        work.replace(path)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path}: {len(key)} bytes, expected {KEY_BYTES}; move it away, and another is made")
    return key
