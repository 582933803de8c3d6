"""Streets of another's making: pyroomacoustics computes the sound field, and we hear, locate and compare.

Two proofs. Its image sources are where ours are: reflections off one wall, off the walls of a street, and in a yard
with a bay, where its own test of what is visible agrees with ours on which walls are heard at all. And the engine does
not live on its own simulator: blasts that went through impulse responses of theirs (image sources to the second order,
their fractional delays, their levels) are heard by the real listeners and placed by the real locator, inside the
regions, also where a third of the microphones hear echoes alone. It proves nothing about diffraction, which an image
source model does not have, and it does not judge what else is placed there: mirrors as flat and hard as these show
the same bang a second time, at the place of its image, to all microphones alike.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.signal import fftconvolve

from acoustic.air import Air, sound_speed
from acoustic.background import background
from acoustic.instant import after, parse_instant
from acoustic.sources import muzzle_blast
from benchmarks.accuracy.suite import shots_of
from localization.frame import Frame
from localization.study.buildings import Block, Buildings
from localization.study.reflection import reflections
from localization.study.scene import Scene, Truth
from localization.study.scene_reading import read_scene
from localization.study.scene_writing import Recording, write_scene
from localization.study.score import score
from localization.study.sounding import converted
from sensors.site import Local, Network, Site
from shotfix.playback import replay

pra = pytest.importorskip("pyroomacoustics", reason="pyroomacoustics is not installed: pip install shotfix[rivals]")

RATE_HZ = 12_000
START_NS = parse_instant("2026-11-21T03:00:00Z")
MILLISECOND = 1e-3
THICK_M = 30.0
HIGH_M = 60.0


def house(west, south, east, north):
    return Block(((west, south), (east, south), (east, north), (west, north)), HIGH_M)


def images_of(room, source, microphone):
    """Their image sources of the first order off upright walls, visible ones only, as distances, m."""
    room.add_source(source)
    room.add_microphone(microphone)
    room.image_source_model()
    made, visible = room.sources[0], np.asarray(room.visibility[0][0], dtype=bool)
    images = made.images[:, (np.asarray(made.orders) == 1) & visible].T
    upright = [image for image in images if abs(image[2] - source[2]) < 1e-3]
    return sorted(math.dist(image, microphone) for image in upright)


# image sources


def test_two_walls_throw_back_when_theirs_do():
    """A street 40 m wide between two long houses: the two reflections, to 0.1 ms."""
    source, microphone = (30.0, 12.0, 1.5), (140.0, 31.0, 7.0)
    absorbing, hard = pra.Material(1.0), pra.Material(0.2)
    sides = dict.fromkeys(("east", "west", "floor", "ceiling"), absorbing) | {"north": hard, "south": hard}
    room = pra.ShoeBox([200.0, 40.0, HIGH_M], fs=RATE_HZ, max_order=1, materials=sides)
    street = Buildings([house(0.0, -THICK_M, 200.0, 0.0), house(0.0, 40.0, 200.0, 40.0 + THICK_M)])
    ours = [each.length_m / room.c for each in reflections(street, source, microphone)]
    room.add_source(source)
    room.add_microphone(microphone)
    room.image_source_model()
    made = room.sources[0]
    images = [made.images[:, k] for k in np.flatnonzero(np.asarray(made.orders) == 1)]
    theirs = sorted(math.dist(image, microphone) / room.c for image in images if abs(image[1] - source[1]) > 1.0)
    assert len(ours) == len(theirs) == 2
    assert ours == pytest.approx(theirs, abs=0.1 * MILLISECOND)


YARD = ((0.0, 0.0), (120.0, 0.0), (120.0, 80.0), (70.0, 80.0), (70.0, 40.0), (0.0, 40.0))
"""An L: from some places one sees only a part of its walls."""
AROUND = Buildings(
    [
        house(-THICK_M, -THICK_M, 120.0 + THICK_M, 0.0),
        house(120.0, 0.0, 120.0 + THICK_M, 80.0),
        house(70.0, 80.0, 120.0 + THICK_M, 80.0 + THICK_M),
        house(-THICK_M, 40.0, 70.0, 80.0 + THICK_M),
        house(-THICK_M, 0.0, 0.0, 40.0),
    ]
)


@st.composite
def inside(draw):
    east, north = draw(st.floats(0.5, 119.5)), draw(st.floats(0.5, 79.5))
    assume(north < 39.5 or east > 70.5)
    return east, north, draw(st.floats(1.0, 20.0))


@settings(max_examples=60)
@given(inside(), inside())
def test_in_a_yard_with_a_bay_the_same_walls_are_heard(source, microphone):
    """Their visibility and ours, from anywhere to anywhere; a mirror's point within 1 cm of an edge is left out."""
    assume(math.dist(source, microphone) > 1.0)
    room = pra.Room.from_corners(np.array(YARD).T, fs=RATE_HZ, max_order=1)
    room.extrude(HIGH_M)
    ours = reflections(AROUND, source, microphone)
    nearby = [reflections(moved, source, microphone) for moved in _moved()]
    assume(all(len(each) == len(ours) for each in nearby))
    theirs = images_of(room, source, microphone)
    assert [each.length_m for each in ours] == pytest.approx(theirs, abs=0.1 * MILLISECOND * room.c)


def _moved():
    """The same yard a centimetre on, each way: where the count of echoes changes, an edge is too near to tell."""
    for east_m, north_m in ((0.01, 0.0), (-0.01, 0.0), (0.0, 0.01), (0.0, -0.01)):
        yield Buildings(
            [Block(tuple((x + east_m, y + north_m) for x, y in each.corners), each.roof_m) for each in AROUND.blocks]
        )


# the engine in their sound field

TIMES_S = (6.0, 11.0, 16.0)


@dataclass(frozen=True)
class Field:
    """A room of theirs, where blasts go off in it, and where microphones stand."""

    room: object
    places: tuple[tuple[float, float, float], ...]
    microphones: tuple[tuple[float, float, float], ...]

    def computed(self):
        """The room with all impulse responses."""
        for place in self.places:
            self.room.add_source(place)
        self.room.add_microphone_array(np.array(self.microphones).T)
        self.room.compute_rir()
        return self

    def hidden(self, number):
        """How many microphones hear a blast by reflections alone."""
        direct = np.asarray(self.room.sources[number].orders) == 0
        return int(np.sum(~np.asarray(self.room.visibility[number], dtype=bool)[:, direct]))


BRICK, GROUND, SKY = 0.4, 0.5, 1.0


@pytest.fixture(scope="module")
def courtyard():
    """200 by 150 m, open to the sky, with walls of brick."""
    sides = dict.fromkeys(("east", "west", "north", "south"), pra.Material(BRICK))
    sides |= {"floor": pra.Material(GROUND), "ceiling": pra.Material(SKY)}
    room = pra.ShoeBox([200.0, 150.0, HIGH_M], fs=RATE_HZ, max_order=2, materials=sides)
    return Field(
        room,
        ((62.0, 95.0, 1.5), (151.0, 38.0, 1.5), (118.0, 104.0, 1.5)),
        (
            (8.0, 12.0, 7.0), (95.0, 5.0, 9.0), (190.0, 10.0, 6.0), (193.0, 80.0, 11.0),
            (180.0, 141.0, 8.0), (104.0, 144.0, 7.0), (12.0, 138.0, 10.0), (6.0, 70.0, 6.0),
        ),
    ).computed()  # fmt: skip


@pytest.fixture(scope="module")
def bay():
    """An L of 320 by 220 m: from one arm much of the other is out of sight."""
    corners = np.array([(0.0, 0.0), (320.0, 0.0), (320.0, 220.0), (190.0, 220.0), (190.0, 100.0), (0.0, 100.0)])
    room = pra.Room.from_corners(corners.T, fs=RATE_HZ, max_order=2, materials=pra.Material(BRICK))
    room.extrude(HIGH_M, materials={"floor": pra.Material(GROUND), "ceiling": pra.Material(SKY)})
    return Field(
        room,
        ((70.0, 42.0, 1.5), (255.0, 150.0, 1.5), (240.0, 61.0, 1.5)),
        (
            (8.0, 12.0, 7.0), (100.0, 92.0, 9.0), (150.0, 8.0, 6.0), (12.0, 90.0, 8.0), (310.0, 12.0, 11.0),
            (305.0, 120.0, 8.0), (200.0, 212.0, 7.0), (312.0, 205.0, 10.0), (198.0, 130.0, 6.0), (225.0, 6.0, 8.0),
        ),
    ).computed()  # fmt: skip


def air_of(speed):
    """Air in which sound travels at just this speed, by bisection over its temperature."""
    low, high = -20.0, 45.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if sound_speed(middle, 50.0, 101_325.0) < speed else (low, middle)
    return Air(low, temperature_sigma_c=1.0, wind_sigma_m_per_s=0.5)


def recordings(field):
    """What the microphones make of a blast from each place, over a quiet night's noise."""
    blast = muzzle_blast(RATE_HZ, peak_db_spl=158.0, positive_phase_s=0.0012)
    lead = pra.constants.get("frac_delay_length") // 2  # their responses begin so many samples early
    for k in range(len(field.microphones)):
        track = background(
            RATE_HZ, 20 * RATE_HZ, level_db_spl=52.0, slope_db_per_octave=-5.0, generator=np.random.default_rng(k)
        )
        for number, time_s in enumerate(TIMES_S):
            heard = 4.0 * math.pi * fftconvolve(blast.pressure_pa, field.room.rir[k][number])  # theirs are 1 / 4 pi r
            first = round((time_s - blast.onset_s) * RATE_HZ) - lead
            track[first : first + len(heard)] += heard
        yield Recording(f"m{k}", START_NS, RATE_HZ, converted(track, 130.0, 16))


def scored(field, folder):
    """The blasts through listeners and locator, beside where they were."""
    sites = (Site(f"m{k}", Local(*place), 0.05, 0.05, 1e-5, 130.0) for k, place in enumerate(field.microphones))
    network = Network(tuple(sites))
    truth = tuple(
        Truth(f"blast{k}", "gunshot", after(START_NS, time_s), Local(*place))
        for k, (place, time_s) in enumerate(zip(field.places, TIMES_S, strict=True))
    )
    scene = Scene("theirs", START_NS, air_of(field.room.c), Frame.of(network), network, 1.5, 1.0, truth=truth)
    write_scene(scene, folder, recordings(field))
    heard = read_scene(folder)
    return score(heard, shots_of(replay(heard)))


def test_blasts_in_their_sound_field_are_placed(courtyard, tmp_path):
    """Where every microphone sees the muzzle: within a metre; 3 mm were seen."""
    result = scored(courtyard, tmp_path / "courtyard")
    assert [courtyard.hidden(number) for number in range(3)] == [0, 0, 0]
    assert all(match.shot is not None for match in result.matches)
    assert max(match.error_m for match in result.matches) < 1.0
    assert all(match.held for match in result.matches)
    assert max(abs(match.time_error_s) for match in result.matches) < 5.0 * MILLISECOND
    assert all(match.shot.places[0].ellipse.semi_major_m < 15.0 for match in result.matches)


def test_blasts_that_some_hear_by_echoes_alone_are_placed(bay, tmp_path):
    """Where a third of the microphones are round the corner and hear nothing but reflections: within 3 m."""
    result = scored(bay, tmp_path / "bay")
    assert [bay.hidden(number) for number in range(3)] == [3, 3, 0]
    assert all(match.shot is not None for match in result.matches)
    assert max(match.error_m for match in result.matches) < 3.0
    assert all(match.held for match in result.matches)
