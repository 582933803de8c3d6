"""Locator and desk, wired: what a replay shares with a centre, so that live is replay with a clock."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.detection import Detection
from acoustic.instant import SECOND
from alerts.alert import Alert, Provenance
from alerts.desk import Desk
from alerts.expectation import Expectation
from alerts.policy import Policy
from localization.fix import Fix, Unfixed
from localization.locator import Locator
from sensors.health import Heartbeat
from shotfix.versions import model_hash, versions

if TYPE_CHECKING:
    from acoustic.air import Air
    from alerts.alert import ModeOfUse
    from alerts.place import NamedSurveyor
    from localization.frame import Frame
    from localization.ground import Ground
    from localization.street import Street
    from sensors.site import Network

Event = Detection | Fix | Unfixed | Alert
Message = Detection | Heartbeat

QUIET_NS: Final = 60 * SECOND
"""How far the last watermark lies behind the last sound: every incident closes in between."""
REVISED_NS: Final = 600 * SECOND
"""No bang is revised so long after it."""
UNPLACED_M: Final = 2_000.0
"""Two sensors that hear one bang without a place stand no farther apart, as ownership has it."""
NEARLY_M: Final = 30.0
"""By which wind, paths and clocks can make the farther of two sensors hear a bang first."""


@dataclass(frozen=True, slots=True, eq=False)
class Deployment:
    """Where bangs are looked for: the sensors, their plane, the weather, the heights.

    Parameters
    ----------
    name : str
        What the plane of places without degrees is called.
    network, frame, air, source_up_m, source_sigma_m, ground
        As `localization.locator.Locator` takes them.
    """

    name: str
    network: Network
    frame: Frame
    air: Air
    source_up_m: float
    source_sigma_m: float
    ground: Ground | None = None


class Machines:
    """The locator and the desk of one place.

    Parameters
    ----------
    deployment : Deployment
        Where.
    policy : Policy or None
        Prior and thresholds; None for the defaults.
    mode : str
        live, replay, test or exercise.
    judged : bool
        Whether the built-in classifier judges what is heard: its hash is then part of the provenance.
    owned : frozenset of str or None
        Bangs belong to these machines when one of these sensors heard them first; others have other owners, and are
        counted as ``elsewhere``. None: every bang does.
    may_have_missed : callable or None
        Whether a sensor may have heard something before an instant that has not been told here. A bang that one of our
        own may have heard first, unknown to us, is ours too: two may then tell of it, but never nobody.
    expectation, gazetteer, audio_url
        As `alerts.desk.Desk` takes them; without an expectation, that of an ordinary night everywhere.
    """

    def __init__(
        self,
        deployment: Deployment,
        policy: Policy | None = None,
        mode: ModeOfUse = "replay",
        *,
        judged: bool = True,
        owned: frozenset[str] | None = None,
        may_have_missed: Callable[[str, int], bool] | None = None,
        expectation: Expectation | None = None,
        gazetteer: NamedSurveyor | None = None,
        audio_url: str | None = None,
    ) -> None:
        self.locator = Locator(
            deployment.network,
            deployment.frame,
            deployment.air,
            deployment.source_up_m,
            deployment.source_sigma_m,
            ground=deployment.ground,
        )
        policy = policy or Policy()
        self.expectation = expectation or Expectation(policy)
        street = self.locator.solver.street
        provenance = Provenance(
            versions=versions(),
            model_hash=model_hash() if judged else None,
            configuration_hash=configuration_hash(deployment, policy, street, self.expectation, gazetteer),
        )
        self.desk = Desk(policy, mode, deployment.name, provenance, self.expectation, gazetteer, audio_url)
        self.last_ns = 0
        self.owned = owned
        self._may_have_missed = may_have_missed
        self._network, self._frame = deployment.network, deployment.frame
        self._ours: dict[str, int] = {}  # shots that are, so that a late sensor does not change their owner
        self._elsewhere = 0
        self.in_doubt = 0
        """Bangs told here that another centre may tell as well."""

    def adopt(self, network: Network, owned: frozenset[str] | None) -> None:
        """Take over a revision of the network, and which of its sensors' bangs are ours."""
        self.owned = owned
        self._network = network
        self.locator.receive(network)

    def passed_over(self) -> dict[str, int]:
        """What was not used, and why."""
        return {
            **self.locator.counts,
            "too-late": self.desk.counts["too_late"],
            "elsewhere": self._elsewhere,
        }

    def doubted(self) -> dict[str, str]:
        """Sensors that lost weight, and why."""
        self.locator.learning.catch_up()
        return {state.sensor_id: state.reason for state in self.locator.learning.sensors.flagged()}

    def receive(self, message: Message) -> Iterator[Event]:
        """Take what a sensor says; what comes of it at once."""
        if isinstance(message, Detection):
            self.last_ns = max(self.last_ns, message.pick.onset_ns)
            yield message
        else:
            self.last_ns = max(self.last_ns, message.heard_until_ns)
        yield from self.tell(self.locator.receive(message))

    def tick(self, watermark_ns: int) -> Iterator[Event]:
        """Everything before the watermark has been heard; what can be decided now."""
        yield from self.tell(self.locator.tick(watermark_ns))
        yield from self.desk.tick(watermark_ns)

    def tell(self, shots: tuple[Fix | Unfixed, ...]) -> Iterator[Event]:
        """Hand shots to the desk; each, and what is said of it."""
        for shot in shots:
            if self._owns(shot):
                yield shot
                yield from self.desk.receive(shot)
            else:
                self._elsewhere += 1

    def finish(self) -> Iterator[Event]:
        """There will be no more: decide everything, close every incident."""
        yield from self.tell(self.locator.finish())
        yield from self.desk.tick(self.last_ns + QUIET_NS)

    def _owns(self, shot: Fix | Unfixed) -> bool:
        """Whether a bang is for these machines to tell of: decided once, by who heard it first or may have."""
        if self.owned is None or shot.shot_id in self._ours:
            return True
        if shot.revision > 1:
            return False
        arrivals = [a for a in shot.arrivals if a.weight >= 0.5] or shot.arrivals
        first = min(arrivals, key=lambda a: (a.detection.pick.onset_ns, a.detection.sensor_id)).detection
        if first.sensor_id not in self.owned:
            if not self._may_be_ours(shot, first):
                return False
            self.in_doubt += 1
        self._ours = {name: at_ns for name, at_ns in self._ours.items() if at_ns > shot.time_ns - REVISED_NS}
        self._ours[shot.shot_id] = shot.time_ns
        return True

    def _may_be_ours(self, shot: Fix | Unfixed, first: Detection) -> bool:
        """Whether one of our own sensors stood near enough to hear a bang first, and may have, unknown to us."""
        onset_ns = first.pick.onset_ns
        if self.owned is None or self._may_have_missed is None:
            return False
        missing = [name for name in sorted(self.owned) if self._may_have_missed(name, onset_ns)]
        if not missing:
            return False
        theirs = self._place_of(first.sensor_id, onset_ns)
        places = [place for name in missing if (place := self._place_of(name, onset_ns)) is not None]
        if theirs is None or isinstance(shot, Unfixed):
            return any(theirs is None or math.dist(place, theirs) <= UNPLACED_M for place in places)
        modes = [((mode.place.east_m, mode.place.north_m), mode.ellipse.semi_major_m) for mode in shot.modes]
        return any(
            math.dist(place, there) <= math.dist(theirs, there) + unsure_m + NEARLY_M
            for place in places
            for there, unsure_m in modes
        )

    def _place_of(self, sensor_id: str, at_ns: int) -> tuple[float, float] | None:
        site = self._network.site(sensor_id, at_ns)
        if site is None:
            return None
        east_m, north_m, _ = self._frame.local([site.position])[0]
        return float(east_m), float(north_m)


def configuration_hash(
    deployment: Deployment, policy: Policy, street: Street, expectation: Expectation, gazetteer: NamedSurveyor | None
) -> str:
    """SHA-256 of everything given that decides what comes of a sound.

    Where the sensors stand, the weather, the heights, what is assumed of streets, the policy, what is expected, and
    what stands where; neither what was heard nor the truth, and no file names: a centre and a replay with the same
    content have the same hash. A calendar that a running centre takes over is named by the alerts that it touches.
    """
    parts = [repr(part) for part in (deployment.network.sites, deployment.frame, deployment.air)]
    parts += [repr(part) for part in (deployment.source_up_m, deployment.source_sigma_m, policy, street)]
    parts.append(expectation.fingerprint())
    if deployment.ground is not None:
        parts.append(deployment.ground.fingerprint())
    if gazetteer is not None:
        parts.append(gazetteer.sha256)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
