import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acoustic.air import Air
from acoustic.bearing import Bearing
from acoustic.detection import CLASSES, Detection, probabilities_from_llr, pulse_identity
from acoustic.instant import parse_instant
from acoustic.pick import Pick
from localization.frame import Frame
from localization.ground import Ground, Raster
from localization.study.scene import Listening, Piece, Pulse, Scene, Truth
from localization.study.scene_reading import read_scene
from localization.study.scene_writing import Recording, offset_text, write_scene
from sensors.recording import read_blocks
from sensors.site import Element, Geodetic, Local, Network, Site

START_NS = parse_instant("2026-11-21T03:12:00Z")

near_ns = st.integers(-(10**9) * 3600, 10**9 * 86_400).map(lambda ns: START_NS + ns)
names = st.text(st.characters(categories=["L", "N"], include_characters="-_.,\" '"), min_size=1, max_size=12).filter(
    lambda name: name == name.strip()
)


def on_a_grid(low, high, decimals):
    """Numbers that a table of so many decimals can hold."""
    unit = 10**decimals
    return st.integers(math.ceil(low * unit), math.floor(high * unit)).map(lambda n: float(f"{n / unit:.{decimals}f}"))


metres = on_a_grid(-5000.0, 5000.0, 4)
local_places = st.builds(Local, metres, metres, metres)
geodetic_places = st.builds(
    Geodetic, on_a_grid(41.70, 41.80, 9), on_a_grid(-72.75, -72.65, 9), on_a_grid(-50.0, 200.0, 4)
)
airs = st.builds(
    Air,
    st.floats(-20.0, 40.0),
    st.floats(0.1, 10.0),
    st.floats(1.0, 100.0),
    st.floats(80_000.0, 105_000.0),
    st.floats(-20.0, 20.0),
    st.floats(-20.0, 20.0),
    st.floats(0.1, 10.0),
)


@st.composite
def sites(draw, places):
    ids = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    spread = [
        # Sensors within two metres of each other are taken for degrees by the reader.
        dataclasses.replace(place, east_m=round(place.east_m + 10_000.0 * k, 4)) if isinstance(place, Local) else place
        for k, place in enumerate(draw(st.lists(places, min_size=len(ids), max_size=len(ids))))
    ]
    return tuple(
        Site(
            name,
            place,
            draw(st.floats(0.0, 100.0)),
            draw(st.floats(0.0, 100.0)),
            draw(st.floats(0.0, 1.0)),
            draw(st.none() | st.floats(60.0, 180.0)),
            tuple(Element(k, 0.1 * k, -0.05, 0.0) for k in range(draw(st.integers(0, 3)))),
        )
        for name, place in zip(ids, spread, strict=True)
    )


@st.composite
def detections(draw, ids):
    sensor_id, onset_ns = draw(st.sampled_from(ids)), draw(near_ns)
    llr = draw(st.floats(-15.0, 15.0))
    others = draw(st.none() | st.sampled_from(CLASSES[1:]))
    probabilities = probabilities_from_llr(llr)
    if others is not None and llr < -5.0:  # the likeliest class is what a table keeps
        probabilities = probabilities_from_llr(llr, [9.0 if name == others else 1.0 for name in CLASSES[1:]])
    return Detection(
        draw(st.just(pulse_identity(sensor_id, onset_ns)) | names.map(lambda name: "p" + name)),
        sensor_id,
        Pick(
            onset_ns,
            draw(st.floats(1e-6, 1.0)),
            draw(st.floats(0.0, 1.0)),
            draw(st.none() | st.floats(-20.0, 80.0)),
            draw(st.none() | st.floats(20.0, 150.0)),
        ),
        llr,
        probabilities,
        bearing=draw(st.none() | st.builds(Bearing, st.floats(0.0, 359.9), st.floats(0.5, 90.0))),
    )


@st.composite
def pulse_scenes(draw):
    places = draw(st.sampled_from([local_places, geodetic_places]))
    network = Network(draw(sites(places)))
    ids = [site.sensor_id for site in network.sites]
    origin = draw(st.none() | geodetic_places) if places is local_places else None
    pulses = draw(st.lists(detections(ids), max_size=6, unique_by=lambda d: d.pulse_id))
    shots = draw(st.lists(names, max_size=3, unique=True))
    truth = [
        Truth(shot, draw(st.sampled_from(CLASSES)), draw(st.none() | near_ns), draw(places), draw(st.floats(0.0, 50.0)))
        for shot in shots
    ]
    return Scene(
        name=draw(names),
        start_ns=START_NS,
        air=draw(airs),
        frame=Frame.of(network, origin),
        network=network,
        source_up_m=draw(st.floats(-100.0, 100.0)),
        source_sigma_m=draw(st.floats(0.0, 100.0)),
        description=draw(st.text(max_size=40).filter(lambda text: "\r" not in text)),
        licence=draw(st.sampled_from(["", "CC0-1.0"])),
        pulses=tuple(
            Pulse(each, draw(st.none() | names))
            for each in sorted(pulses, key=lambda d: (d.pick.onset_ns, d.sensor_id))
        ),
        listening={name: draw(st.builds(Listening, st.none() | st.just(START_NS), st.none())) for name in ids},
        truth=tuple(truth),
    )


def comparable(scene):
    """The scene with what no folder keeps bit for bit brought to a common form."""
    air = scene.air
    wind = (round(air.wind_east_m_per_s, 9) + 0.0, round(air.wind_north_m_per_s, 9) + 0.0)
    return dataclasses.replace(
        scene,
        air=dataclasses.replace(air, wind_east_m_per_s=wind[0], wind_north_m_per_s=wind[1]),
        hashes={},
        warnings=(),
    )


@settings(max_examples=60)
@given(scene=pulse_scenes())
def test_what_was_written_is_what_is_read(scene, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "one"
    assert comparable(read_scene(write_scene(scene, folder))) == comparable(scene)


@given(offset_ns=st.integers(-(10**15), 10**15))
def test_offsets_are_exact_to_the_nanosecond(offset_ns):
    text = offset_text(START_NS + offset_ns, START_NS)
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    seconds, decimals = digits.split(".")
    assert sign * (int(seconds) * 10**9 + int(decimals)) == offset_ns
    assert len(decimals) == 9


def scene_of(*sensor_ids):
    network = Network(tuple(Site(name, Local(100.0 * k, 50.0, 3.0)) for k, name in enumerate(sensor_ids)))
    return Scene("a night", START_NS, Air(), Frame(), network, 0.0, 5.0)


def recording(sensor_id, start_ns=START_NS, kind=np.int16, fmt="flac", n=4_000):
    limits = np.iinfo(kind)
    samples = np.random.default_rng(n).integers(limits.min, limits.max, n, dtype=kind)
    return Recording(sensor_id, start_ns, 8_000, samples if kind is np.int16 else samples & ~0xFF, fmt)


@pytest.mark.parametrize(("kind", "fmt"), list(itertools.product((np.int16, np.int32), ("flac", "wav"))))
def test_sound_comes_back_sample_by_sample(tmp_path, kind, fmt):
    first, second = recording("a", kind=kind, fmt=fmt), recording("b", START_NS - 123_456_789, kind, fmt)
    folder = write_scene(scene_of("a", "b"), tmp_path / "scene", [first, second])
    back = read_scene(folder)
    assert [(piece.sensor_id, piece.start_ns) for piece in back.pieces] == [("a", START_NS), ("b", second.start_ns)]
    full = float(np.iinfo(kind).max) + 1.0
    for piece, made in zip(back.pieces, (first, second), strict=True):
        samples = np.concatenate([block.samples for block in read_blocks(piece.path, piece.start_ns)])
        assert np.array_equal(samples.astype(np.float64), (made.samples / full).astype(np.float32).astype(np.float64))


def test_pieces_are_copied_and_names_that_clash_on_some_disks_kept_apart(tmp_path):
    scene = scene_of("A/b", "a:B", "a b")
    folder = write_scene(scene, tmp_path / "one", [recording(s.sensor_id) for s in scene.network.sites])
    assert sorted(path.name for path in (folder / "audio").iterdir()) == ["A_b.flac", "a_B-2.flac", "a_b-3.flac"]
    again = read_scene(write_scene(read_scene(folder), tmp_path / "two"))
    assert [piece.path.read_bytes() for piece in again.pieces] == [
        piece.path.read_bytes() for piece in read_scene(folder).pieces
    ]


def test_a_failure_leaves_what_was_there(tmp_path):
    folder = write_scene(scene_of("a"), tmp_path / "scene", [recording("a")])
    (folder / "notes.txt").write_text("mine")
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def breaking():
        yield recording("a", n=5_000)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_scene(scene_of("a"), folder, breaking())
    with pytest.raises(OSError, match="disk full"):
        write_scene(scene_of("a"), tmp_path / "new", breaking())
    assert {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["scene"]


def test_a_scene_takes_the_place_of_another_and_leaves_other_files_alone(tmp_path):
    folder = write_scene(scene_of("a", "b"), tmp_path / "scene", [recording("a"), recording("b")])
    (folder / "notes.txt").write_text("mine")
    write_scene(scene_of("c"), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["notes.txt", "pulses.csv", "scene.toml", "sensors.csv"]


def test_only_one_recording_is_held_at_a_time(tmp_path):
    alive = []

    def counting():
        for k in range(5):
            alive.append(k)
            yield recording("a", START_NS + k * 10**9)
            assert (tmp_path / "scene").exists() is False
            assert len(list(tmp_path.glob(".scene-*/audio/*.flac"))) == k + 1

    write_scene(scene_of("a"), tmp_path / "scene", counting())
    assert len(read_scene(tmp_path / "scene").pieces) == 5


def test_what_no_folder_can_say_is_refused(tmp_path):
    site = Site("a", Local(0.0, 0.0, 0.0), valid_from_ns=START_NS)
    scene = dataclasses.replace(scene_of("a"), network=Network((site,)))
    with pytest.raises(ValueError, match="cannot say so"):
        write_scene(scene, tmp_path / "scene")
    with pytest.raises(ValueError, match="expected int16"):
        Recording("a", START_NS, 8_000, np.zeros(4))
    with pytest.raises(ValueError, match="flac or wav"):
        Recording("a", START_NS, 8_000, np.zeros(4, np.int16), "mp3")
    assert list(tmp_path.iterdir()) == []


def test_pieces_without_channels_of_their_own_share_a_file(tmp_path):
    folder = write_scene(scene_of("a"), tmp_path / "one", [recording("a")])
    piece = read_scene(folder).pieces[0]
    both = dataclasses.replace(
        scene_of("a"), pieces=(piece, Piece("a", piece.path, 1, piece.start_ns)), name="two channels"
    )
    write_scene(both, tmp_path / "two")
    assert (tmp_path / "two" / "audio.csv").read_text().count("audio/a.flac") == 2


def plain_scene(**more):
    sites_ = (Site("A", Local(0.0, 0.0, 8.0)), Site("B", Local(400.0, 0.0, 9.0)), Site("C", Local(0.0, 300.0, 7.0)))
    return Scene("s", START_NS, Air(), Frame(), Network(sites_), 1.5, 5.0, **more)


def test_the_ground_and_the_noise_come_back(tmp_path):
    scene = plain_scene(ground=Ground(-12.5, 2.0), noise_floors_db_spl={"A": 55.0, "C": 61.5})
    back = read_scene(write_scene(scene, tmp_path / "s"), audio=False)
    assert (back.ground.level, back.ground.sigma_m) == (-12.5, 2.0)
    assert back.noise_floors_db_spl == {"A": 55.0, "C": 61.5}


def test_a_raster_is_not_dropped_in_silence(tmp_path):
    scene = plain_scene(ground=Ground(Raster(np.zeros((2, 2)), 0.0, 0.0, 10.0, 10.0)))
    with pytest.raises(ValueError, match=r"ground\.asc"):
        write_scene(scene, tmp_path / "s")
    assert not (tmp_path / "s").exists()
