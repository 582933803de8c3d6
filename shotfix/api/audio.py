"""Sound: clips that alerts name, whole or in part, as they were kept or as a phone plays them; each fetch is logged."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import sqlalchemy as sa
from starlette.responses import Response

from alerts.record import tables
from shotfix.api.call import Call, Operation
from shotfix.api.problems import Problem, later

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FLAC: Final = "audio/flac"
WAV: Final = "audio/wav"
LARGEST: Final = 16 << 20
"""Bytes of one clip, which lasts some seconds."""
MOST_SAMPLES: Final = 8_000_000
"""That are decoded of one: silence takes no room in FLAC, and would take all of it decoded."""
PEAK: Final = 0.89
"""Of full scale, -1 dB: loud enough for a phone, and no clipping in what plays it."""
MOST_GAIN: Final = 1_000.0
"""60 dB: silence is not blown up to noise."""
_RANGE: Final = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_FETCHED: Final = re.compile(r"GET /audio/\{sha256\}(?:\.wav)?(?: (\d{1,15})-(\d{1,15})/(\d{1,15}))?")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes ``first`` to ``last`` of ``size``."""

    first: int
    last: int
    size: int


def part_of(header: str | None, if_range: str | None, etag: str, size: int) -> Part | None:
    """The part that a Range header asks for; None for all of it.

    RFC 9110, 14: one range of bytes is understood. Several, another unit, or one that no longer fits the entity
    (If-Range) are answered with all of it, as that permits.

    Raises
    ------
    Problem
        When the range lies outside.
    """
    found = _RANGE.fullmatch(header.strip()) if header is not None else None
    if found is None or found[1] + found[2] == "" or (if_range is not None and if_range.strip() != etag):
        return None
    if not found[1]:
        first, last = max(size - int(found[2]), 0), size - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size), size - 1)
        if found[2] and int(found[2]) < first:
            return None
    if first >= size or first > last:
        raise Problem("range", f"the sound has {size} bytes", {"content-range": f"bytes */{size}"})
    return Part(first, last, size)


def is_whole(fetched: Iterable[str]) -> bool:
    """Whether calls that fetched a clip in one form, as the access log has them, brought all of its bytes together.

    Players fetch what they play in parts, and ask first with a HEAD or for two bytes: that is no listening.
    """
    parts = []
    for what in fetched:
        found = _FETCHED.fullmatch(what)
        if found is not None and found[1] is None:
            return True
        if found is not None:
            parts.append((int(found[1]), int(found[2]), int(found[3])))
    reached = 0  # the first byte that is missing still
    for first, last, _ in sorted(parts):
        if first > reached:
            break
        reached = max(reached, last + 1)
    return bool(parts) and reached >= max(size for _, _, size in parts)


def wav_of(flac: bytes) -> bytes:
    """A clip as 16-bit WAV, its greatest peak 1 dB below full scale: a phone plays it, and it can be heard.

    How loud it was is lost in this; measure on the FLAC.

    Raises
    ------
    Problem
        When it cannot be decoded, or is longer than any clip.
    """
    import soundfile  # only who asks for it pays for it

    try:
        with soundfile.SoundFile(io.BytesIO(flac)) as file:
            if file.frames * file.channels > MOST_SAMPLES:
                raise Problem("fault", "the clip is too long to be played here; fetch the FLAC")
            samples = file.read(MOST_SAMPLES // file.channels, dtype="float64", always_2d=True)
            rate_hz = file.samplerate
    except (soundfile.LibsndfileError, ValueError):
        raise Problem("fault", "the clip cannot be decoded; fetch the FLAC") from None
    peak = float(np.max(np.abs(samples), initial=0.0))
    gain = min(PEAK / peak, MOST_GAIN) if peak > 0.0 else 1.0
    content = io.BytesIO()
    soundfile.write(content, samples * gain, rate_hz, format="WAV", subtype="PCM_16")
    return content.getvalue()


async def flac(call: Call) -> Response:
    """The clip as it was kept."""
    return await _counted(call, FLAC)


async def wav(call: Call) -> Response:
    """The clip as a phone plays it."""
    return await _counted(call, WAV)


async def _counted(call: Call, media_type: str) -> Response:
    """The clip, unless this person has fetched as many as one may: what is not there, and a head, cost nothing."""
    answer = await call.do(_answer, call, media_type)
    quota = call.room.sound
    wait_s = quota.take(call.who, call.about) if call.request.method != "HEAD" else 0.0
    if wait_s:
        raise later("too-many", f"{quota.most} clips in an hour is what one person may (people.clips_per_hour)", wait_s)
    return answer


def _answer(call: Call, media_type: str) -> Response:
    sha256 = call.request.path_params["sha256"]
    if not _DIGEST.fullmatch(sha256):
        raise Problem("unknown", "sound has a name of 64 hexadecimal digits")
    call.about = sha256
    content = _read(_path(call, sha256))
    if media_type == WAV:
        content = wav_of(content)
    etag = f'"{sha256}{"" if media_type == FLAC else "-wav"}"'
    headers = {
        "accept-ranges": "bytes",
        "etag": etag,
        "content-disposition": f'inline; filename="{_name(call, sha256)}"',
    }
    asked = call.request.headers
    part = part_of(asked.get("range"), asked.get("if-range"), etag, len(content))
    if part is None:
        return Response(content, 200, headers, media_type=media_type)
    headers["content-range"] = f"bytes {part.first}-{part.last}/{part.size}"
    call.what += f" {part.first}-{part.last}/{part.size}"
    return Response(content[part.first : part.last + 1], 206, headers, media_type=media_type)


def _path(call: Call, sha256: str) -> Path:
    """Where it lies, when an alert that this person is told of names it."""
    services = call.room.services
    alert_id = call.room.named_clips.alert_of(sha256)
    path = services.clips.path(sha256)
    if alert_id is None or path is None or not _is_told(call, alert_id):
        raise Problem("unknown", "no such sound, or it was let go of")
    return path


def _is_told(call: Call, alert_id: str) -> bool:
    """Whether the record still has the alert, and this person is told of it."""
    row = tables.incident.c
    wanted = sa.select(row.published).where(row.alert_id == alert_id)
    with call.room.services.store.reading() as connection:
        published = connection.execute(wanted).scalar_one_or_none()
    return published is not None and (call.sees_unpublished or published)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise Problem("fault", f"the clip has more than {LARGEST} bytes")
        return path.read_bytes()
    except OSError:
        raise Problem("unknown", "no such sound, or it was let go of") from None


def _name(call: Call, sha256: str) -> str:
    return f"{sha256[:16]}.{'flac' if call.operation.name == 'flac' else 'wav'}"


OPERATIONS: Final = (
    Operation("wav", "GET", "/audio/{sha256}.wav", "A clip as 16-bit WAV that a phone plays, loud-normalised.", wav,
              answer=WAV, logged_first=True),
    Operation("flac", "GET", "/audio/{sha256}", "A clip as it was kept, bit for bit.", flac, answer=FLAC,
              logged_first=True),
)  # fmt: skip
