"""Sensors: how each is, and as much of where it stands as one may know."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from sensors.condition import STATES
from shotfix.api import answers
from shotfix.api.answers import Sensor, Sensors
from shotfix.api.call import Call, Operation
from shotfix.api.sensor_states import CELL_M, SensorState, cell, opaque, plane_cell

if TYPE_CHECKING:
    from starlette.responses import Response


async def sensors(call: Call) -> Response:
    """Every sensor."""
    return call.answer(await call.do(_sensors, call))


def _sensors(call: Call) -> Sensors:
    states = call.room.services.sensors()
    key = call.room.services.key
    told = [_exact(state) if call.sees_sensors else _blurred(state, key) for state in states]
    if not call.sees_sensors:
        # In the order of their own names the opaque ones could be told apart.
        told.sort(key=lambda sensor: sensor.sensor)
    counted = Counter(state.state for state in states)
    return Sensors(tuple(told), {state: counted[state] for state in STATES})


def _exact(state: SensorState) -> Sensor:
    return Sensor(
        sensor=state.sensor_id,
        node=state.node_id,
        state=state.state,
        troubles=state.troubles,
        since=answers.maybe(state.since_ns),
        clock_offset_s=state.clock_offset_s,
        clock=state.clock,
        latitude=state.latitude,
        longitude=state.longitude,
        east_m=state.east_m,
        north_m=state.north_m,
        cell_m=None,
    )


def _blurred(state: SensorState, key: bytes) -> Sensor:
    """Its words about its clock may name sensors, so they stay away too."""
    latitude, longitude = state.latitude, state.longitude
    middle = None if latitude is None or longitude is None else cell(latitude, longitude)
    return Sensor(
        sensor=opaque(key, state.sensor_id),
        node=None,
        state=state.state,
        troubles=state.troubles,
        since=answers.maybe(state.since_ns),
        clock_offset_s=None,
        clock=None,
        latitude=None if middle is None else middle[0],
        longitude=None if middle is None else middle[1],
        east_m=None if state.east_m is None else plane_cell(state.east_m),
        north_m=None if state.north_m is None else plane_cell(state.north_m),
        cell_m=CELL_M,
    )


OPERATIONS: Final = (
    Operation("sensors", "GET", "/sensors", "How each sensor is, and where, as far as one may know.", sensors,
              answer=Sensors),
)  # fmt: skip
