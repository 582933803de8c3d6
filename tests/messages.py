"""Messages of nodes, as Hypothesis strategies and as samples."""

from __future__ import annotations

import zlib

import numpy as np
from hypothesis import strategies as st

from acoustic.bearing import Bearing
from acoustic.block import AudioBlock, Timing
from acoustic.detection import FLAGS, Clip, Detection, probabilities_from_llr
from acoustic.instant import EARLIEST_NS, LATEST_NS
from acoustic.pick import Pick
from sensors.chunk import AudioChunk
from sensors.health import CLOCK_STATES, ClockState, Farewell, Heartbeat
from sensors.message import Ack, Batch, Envelope
from sensors.snippet import Snippet

NIGHT_NS = 1_795_229_647_412_345_678
BOOT = "00c0ffee00c0ffee"
NODE = "roof-7"

instants = st.integers(EARLIEST_NS, LATEST_NS)
names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=100)
boots = st.text("0123456789abcdef", min_size=8, max_size=64)
levels = st.none() | st.floats(-300.0, 300.0)
counts = st.integers(0, 2**63 - 1)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
picks = st.builds(
    Pick,
    onset_ns=instants,
    sigma_s=st.floats(1e-9, 3_599.0),
    p_outlier=st.floats(0.0, 1.0),
    snr_db=levels,
    level_db_spl=levels,
    censored=st.booleans(),
    clock_sigma_s=st.none() | st.floats(0.0, 3_600.0),
)
llrs = st.floats(-50.0, 50.0)
detections = st.builds(
    Detection,
    pulse_id=names,
    sensor_id=names,
    pick=picks,
    llr=llrs,
    probabilities=llrs.map(probabilities_from_llr),
    model=names,
    flags=st.lists(st.sampled_from(FLAGS), unique=True).map(lambda flags: tuple(sorted(flags))),
    bearing=st.none() | st.builds(Bearing, st.floats(0.0, 359.99), st.floats(0.01, 180.0)),
)
heartbeats = st.builds(
    Heartbeat,
    sensor_id=names,
    heard_until_ns=instants,
    listening=st.booleans(),
    noise_floor_db_spl=levels,
    gaps=counts,
    faulty_samples=counts,
    clipped_samples=counts,
    suppressed=counts,
    clock=st.builds(ClockState, st.sampled_from(CLOCK_STATES), st.floats(0.0, 3_600.0)),
    spool_dropped=counts,
)
farewells = st.builds(Farewell, names, instants)
flacs = st.binary(min_size=1, max_size=200)  # the wire does not look into it
snippets = st.builds(
    Snippet,
    sensor_id=names,
    pulse_ids=st.lists(names, min_size=1, max_size=5).map(tuple),
    clip=st.builds(Clip, instants, st.floats(0.01, 12.0), digests),
    rate_hz=st.integers(8_000, 192_000),
    flac=flacs,
)


@st.composite
def chunks(draw):
    """Chunks as nodes make them, but for their sound."""
    rate_hz = draw(st.integers(8_000, 192_000))
    index = draw(st.integers(0, 2**40))
    timing = None
    start_ns = draw(st.integers(0, LATEST_NS // 2))
    if draw(st.booleans()):
        true_hz = rate_hz * draw(st.floats(0.9999, 1.0001))
        timing = Timing(draw(st.integers(max(index - 10**6, 0), index)), start_ns, true_hz, draw(st.floats(0.0, 1.0)))
        start_ns = timing.instant(index)
    flac = draw(flacs)
    count, channels = draw(st.integers(1, rate_hz)), draw(st.integers(1, 8))
    return AudioChunk(
        draw(names),
        draw(names),
        index,
        count,
        rate_hz,
        channels,
        start_ns,
        draw(st.booleans()),
        timing,
        zlib.crc32(flac),
        flac,
    )


contents = st.one_of(detections, heartbeats, farewells, snippets, chunks())
envelopes = st.builds(Envelope, node_id=names, boot_id=boots, sequence=counts, content=contents)


@st.composite
def batches(draw, most=6):
    """Batches of one node, of several boots, in any order."""
    node_id = draw(names)
    said = draw(st.lists(st.tuples(boots, counts, contents), max_size=most))
    return Batch(node_id, draw(instants), tuple(Envelope(node_id, *each) for each in said))


acks = st.builds(
    Ack,
    centre_boot=names,
    received_ns=instants,
    held=st.sets(st.integers(0, 4_095), max_size=50).map(lambda places: tuple(sorted(places))),
    released=st.dictionaries(boots, counts, max_size=5),
    resume=st.booleans(),
)


def beat(until_s: float = 0.0, sensor_id: str = "roof-7/a") -> Heartbeat:
    """A sensor heard everything until then."""
    return Heartbeat(sensor_id, NIGHT_NS + round(until_s * 1e9))


def heard(number: int = 0, sensor_id: str = "roof-7/a") -> Detection:
    """One impulse."""
    return Detection(f"p{number}", sensor_id, Pick(NIGHT_NS + number, 1e-4, snr_db=20.0))


def snippet(size: int = 1_000, sensor_id: str = "roof-7/a", number: int = 0) -> Snippet:
    """Some sound, as far as the wire is concerned."""
    return Snippet(sensor_id, (f"p{number}",), Clip(NIGHT_NS, 2.5, "ab" * 32), 48_000, bytes([number % 256]) * size)


def chunk(index: int = 0, size: int = 1_000, sensor_id: str = "roof-7/a") -> AudioChunk:
    """A second of sound, as far as the wire is concerned."""
    flac = index.to_bytes(8, "big") * (size // 8)
    return AudioChunk(sensor_id, "e1", index, 48_000, 48_000, 1, NIGHT_NS + index, False, None, zlib.crc32(flac), flac)


def noise_chunk(seconds: float = 1.0) -> AudioChunk:
    """A true one: white noise of 16 bit, which FLAC cannot make much shorter."""
    steps = np.random.default_rng(7).integers(-3_000, 3_000, round(48_000 * seconds))
    return AudioChunk.of("roof-7/a", "e1", 0, AudioBlock((steps / 32_768).astype(np.float32), 48_000, NIGHT_NS, True))


def envelope(sequence: int, content, boot_id: str = BOOT, node_id: str = NODE) -> Envelope:
    """A message of the node of these samples."""
    return Envelope(node_id, boot_id, sequence, content)


def batch(*said, boot_id: str = BOOT, node_id: str = NODE, first: int = 0) -> Batch:
    """These contents, numbered from ``first``."""
    return Batch(node_id, NIGHT_NS, tuple(Envelope(node_id, boot_id, first + k, one) for k, one in enumerate(said)))


def one_of_each() -> Batch:
    """A batch with every kind of content."""
    detection = Detection(
        "p0123456789abcdef",
        "roof-7/a",
        Pick(NIGHT_NS, 0.000125, 0.0625, 31.5, 118.25, censored=True, clock_sigma_s=2e-5),
        6.5,
        probabilities_from_llr(6.5),
        "night-1",
        ("clipped", "shock-wave"),
        Bearing(271.5, 4.25),
    )
    timed = AudioChunk(
        "roof-7/b", "e1", 9, 10, 48_000, 2, NIGHT_NS, True, Timing(9, NIGHT_NS, 48_000.5, 1e-5, "locked"), 0, b"f"
    )
    return batch(detection, beat(), Farewell("roof-7/a", NIGHT_NS), snippet(), timed)
