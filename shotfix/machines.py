"""Locator and desk, wired: what a replay and a centre have in common, so that live is replay with a clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from acoustic.detection import Detection
from acoustic.instant import SECOND
from alerts.alert import Alert, Provenance
from alerts.desk import Desk
from alerts.policy import Policy
from localization.fix import Fix, Unfixed
from localization.locator import Locator
from sensors.health import Heartbeat
from shotfix.versions import model_hash, versions

if TYPE_CHECKING:
    from acoustic.air import Air
    from alerts.alert import ModeOfUse
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
    """

    def __init__(
        self,
        deployment: Deployment,
        policy: Policy | None = None,
        mode: ModeOfUse = "replay",
        *,
        judged: bool = True,
        owned: frozenset[str] | None = None,
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
        provenance = Provenance(
            versions=versions(),
            model_hash=model_hash() if judged else None,
            configuration_hash=configuration_hash(deployment, policy, self.locator.solver.street),
        )
        self.desk = Desk(policy, mode, deployment.name, provenance)
        self.last_ns = 0
        self.owned = owned
        self._ours: dict[str, int] = {}  # shots that are, so that a late sensor does not change their owner
        self._elsewhere = 0

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
        """Whether a bang is for these machines to tell of: decided once, by who heard it first."""
        if self.owned is None or shot.shot_id in self._ours:
            return True
        first = min(shot.arrivals, key=lambda a: (a.detection.pick.onset_ns, a.detection.sensor_id))
        if shot.revision > 1 or first.detection.sensor_id not in self.owned:
            return False
        self._ours = {name: at_ns for name, at_ns in self._ours.items() if at_ns > shot.time_ns - REVISED_NS}
        self._ours[shot.shot_id] = shot.time_ns
        return True


def configuration_hash(deployment: Deployment, policy: Policy, street: Street) -> str:
    """SHA-256 of everything given that decides what comes of a sound.

    Where the sensors stand, the weather, the heights, what is assumed of streets, and the policy; neither what was
    heard nor the truth, and no file names: a centre and a replay with the same content have the same hash.
    """
    parts = [repr(part) for part in (deployment.network.sites, deployment.frame, deployment.air)]
    parts += [repr(part) for part in (deployment.source_up_m, deployment.source_sigma_m, policy, street)]
    if deployment.ground is not None:
        parts.append(deployment.ground.fingerprint())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
