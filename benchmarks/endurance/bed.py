"""False alarms: a day of a city without a shot in it, through listeners, locator and desk.

    python -m benchmarks.endurance.bed [--hours 24] [--seed 1] [--sounds FOLDER] [--write]

The sound is made as it is heard, a minute at a time (fixtures/builders/bed.py), so that memory stays flat however long
the bed is.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from acoustic.detection import Detection
from acoustic.instant import SECOND, seconds_between
from alerts.alert import Alert
from alerts.desk import Desk
from benchmarks.__main__ import RESULTS, circumstances
from benchmarks.accuracy.suite import shot_of
from benchmarks.endurance.bed_table import rates, table
from localization.fix import Fix, Unfixed
from localization.locator import Locator
from localization.study.score import Score, Shot, score
from sensors.health import Heartbeat
from sensors.listener import Listener
from shotfix import documents

Message = Detection | Heartbeat

ROOT = Path(__file__).resolve().parents[2]
SOUNDS = ROOT.parent / "shared" / "data" / "audio"
QUIET_NS = 60 * SECOND
TELLING_LLR = 0.0  # as likely a gunshot as not, to one sensor


COUNTED = ("sensor_s", "pulses", "unexplained", "telling")
SPENT = ("made_s", "heard_s", "most_mib")


@dataclass
class Tally:
    """What came of a bed so far: at the sensors, by background, and at the centre."""

    sensor_s: Counter[str] = field(default_factory=Counter)
    pulses: Counter[str] = field(default_factory=Counter)
    unexplained: Counter[str] = field(default_factory=Counter)
    telling: Counter[str] = field(default_factory=Counter)
    shots: dict[str, Fix | Unfixed] = field(default_factory=dict)
    incidents: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)
    made_s: float = 0.0
    heard_s: float = 0.0
    decided_s: float = 0.0
    most_mib: int = 0


class Ears:
    """The microphones of a bed and their listeners; a minute at a time."""

    def __init__(self, bed: Any, tally: Tally) -> None:
        self.bed, self.tally = bed, tally
        self.microphones = [bed.microphone(k) for k in range(bed.sensors)]
        self.listeners = [
            Listener(site.sensor_id, full_scale_db_spl=site.full_scale_db_spl, air=bed.scene.air)
            for site in bed.scene.network.sites
        ]

    def minute(self) -> Iterator[Message]:
        """What all sensors say to the next minute."""
        for microphone, listener in zip(self.microphones, self.listeners, strict=True):
            began = time.process_time()
            blocks = microphone.minute()
            self.tally.made_s += time.process_time() - began
            for block in blocks:
                began = time.process_time()
                said = listener.hear(block)
                self.tally.heard_s += time.process_time() - began
                where = microphone.background_of(self._time_s(block.start_ns))
                self.tally.sensor_s[where] += len(block.samples) / block.rate_hz
                yield from self._counted(microphone, said)
            microphone.bangs[:] = microphone.bangs[-50:]

    def finish(self) -> Iterator[Message]:
        """What they say at the end."""
        for microphone, listener in zip(self.microphones, self.listeners, strict=True):
            yield from self._counted(microphone, listener.finish())

    def _time_s(self, instant_ns: int) -> float:
        return seconds_between(self.bed.scene.start_ns, instant_ns)

    def _counted(self, microphone: Any, said: tuple[Message, ...]) -> Iterator[Message]:
        for message in said:
            if isinstance(message, Detection):
                time_s = self._time_s(message.pick.onset_ns)
                where = microphone.background_of(time_s)
                self.tally.pulses[where] += 1
                if not any(first - 0.1 <= time_s <= last for first, last in microphone.bangs):
                    self.tally.unexplained[where] += 1
                    self.tally.telling[where] += message.llr >= TELLING_LLR
            yield message


class Centre:
    """Locator and desk of a bed."""

    def __init__(self, bed: Any, tally: Tally) -> None:
        scene = bed.scene
        self.tally = tally
        self.locator = Locator(scene.network, scene.frame, scene.air, scene.source_up_m, scene.source_sigma_m)
        self.desk = Desk(mode="test", frame_name=scene.name)
        self.until_ns = dict.fromkeys((site.sensor_id for site in scene.network.sites), scene.start_ns)

    def decide(self, messages: list[Message]) -> None:
        """Take a minute's messages, and decide what they allow."""
        began = time.process_time()
        for message in messages:
            if isinstance(message, Heartbeat):
                self.until_ns[message.sensor_id] = max(self.until_ns[message.sensor_id], message.heard_until_ns)
            self._tell(self.locator.receive(message))
        watermark_ns = min(self.until_ns.values())
        self._tell(self.locator.tick(watermark_ns))
        self._told(self.desk.tick(watermark_ns))
        self.tally.decided_s += time.process_time() - began

    def finish(self) -> None:
        """The end of the bed."""
        self._tell(self.locator.finish())
        self._told(self.desk.tick(max(self.until_ns.values()) + QUIET_NS))
        self.tally.passed_over = dict(self.locator.counts)

    def _tell(self, shots: tuple[Fix | Unfixed, ...]) -> None:
        for shot in shots:
            self.tally.shots[shot.shot_id] = shot
            self._told(self.desk.receive(shot))

    def _told(self, alerts: tuple[Alert, ...]) -> None:
        """Keep the last word on each incident."""
        for alert in alerts:
            self.tally.outcomes[alert.incident_id] = alert.outcome if alert.status != "cancelled" else "cancelled"
            self.tally.incidents.update((shot.shot_id, alert.incident_id) for shot in alert.rounds)


def hear(bed: Any, *, keep: IO[str] | None = None, progress: bool = False) -> tuple[Tally, Score]:
    """Everything that is made of a bed, and its score; with ``keep``, what the sensors said goes there as well."""
    tally = Tally()
    ears, centre = Ears(bed, tally), Centre(bed, tally)
    for minute in range(bed.minutes + 1):
        messages = list(ears.minute() if minute < bed.minutes else ears.finish())
        if keep is not None:
            keep.writelines(documents.encode(message) + "\n" for message in messages)
            keep.write(json.dumps({"minute": minute}) + "\n")
            if minute % 10 == 9 or minute == bed.minutes:
                keep.write(_so_far(tally) + "\n")
        centre.decide(messages)
        tally.most_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        if progress and minute % 60 == 59:
            _say(minute, tally)
    centre.finish()
    return tally, scored(bed, tally)


def _so_far(tally: Tally) -> str:
    counted = {name: getattr(tally, name) for name in COUNTED}
    spent = {name: getattr(tally, name) for name in SPENT}
    return json.dumps({"counted": counted, "spent": spent})


def decide_again(bed: Any, kept: IO[str]) -> tuple[Any, Tally, Score]:
    """The same from what the sensors of the same bed said: what another locator makes of it, in seconds an hour.

    A hearing that was stopped on its way gives a shorter bed: up to its last full ten minutes.
    """
    tally = Tally()
    centre = Centre(bed, tally)
    minutes: list[list[Message]] = [[]]
    heard = 0
    try:
        for line in kept:
            if line.startswith('{"minute"'):
                minutes.append([])
            elif line.startswith('{"counted"'):
                last = json.loads(line)
                for name in COUNTED:
                    setattr(tally, name, Counter(last["counted"][name]))
                for name in SPENT:
                    setattr(tally, name, last.get("spent", last).get(name, 0))
                for messages in minutes[:-1]:
                    centre.decide(messages)
                heard += len(minutes) - 1
                minutes = [[]]
            else:
                minutes[-1].append(documents.decode(line))
    except EOFError:
        pass  # the file was not closed
    centre.finish()
    bed = replace(bed, minutes=min(heard, bed.minutes))
    return bed, tally, scored(bed, tally)


def _say(minute: int, tally: Tally) -> None:
    print(
        f"{(minute + 1) // 60} h heard, {sum(tally.pulses.values())} pulses, {len(tally.shots)} shots, "
        f"{tally.most_mib} MiB at most",
        file=sys.stderr,
        flush=True,
    )


def scored(bed: Any, tally: Tally) -> Score:
    """The score of what came of a bed."""
    return score(bed.scene, [_shot(shot, tally) for shot in tally.shots.values()])


def _shot(shot: Fix | Unfixed, tally: Tally) -> Shot:
    incident = tally.incidents.get(shot.shot_id, shot.shot_id)
    return shot_of(shot, incident, tally.outcomes.get(incident, ""))


# the table


def measure(data: Path | None) -> str:  # noqa: ARG001  (the live fire is not needed)
    """One hour of the evening: the day itself takes a quarter of an hour, see the command of this file."""
    bed = build(60, from_minute=20 * 60)
    return table(bed, *hear(bed))


def build(minutes: int, *, sensors: int = 8, seed: int = 1, from_minute: int = 0, busy: float = 1.0,
          sounds: Path | None = SOUNDS, most: int | None = None) -> Any:  # fmt: skip
    """A bed; with the labelled sounds where they are."""
    sys.path.insert(0, str(ROOT / "fixtures" / "builders"))
    import bed  # a script of the builders, not of a package

    return bed.Bed(minutes, sensors, seed, from_minute, busy, bed.sounds_of(sounds, most))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--from-hour", type=float, default=0.0, help="of the day")
    parser.add_argument("--sensors", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--busy", type=float, default=1.0, help="times as many sounds of everything")
    parser.add_argument("--sounds", type=Path, default=SOUNDS, help="labelled sounds: a folder with manifest.csv")
    parser.add_argument("--keep", type=Path, help="keep what the sensors said in this file (.jsonl.gz)")
    parser.add_argument("--again", type=Path, nargs="+", help="decide again on what was kept; make and hear nothing")
    parser.add_argument("--write", action="store_true", help="into benchmarks/results/endurance-bed.md")
    given = parser.parse_args()
    told = again(given.again) if given.again else anew(given)
    text = f"# endurance.bed\n\n{circumstances()}\n\n{told}\n"
    print(text)
    if given.write:
        (RESULTS / "endurance-bed.md").write_text(text)
    return 0


def anew(given: argparse.Namespace) -> str:
    about = {"minutes": round(60.0 * given.hours), "sensors": given.sensors, "seed": given.seed,
             "from_minute": round(60.0 * given.from_hour), "busy": given.busy}  # fmt: skip
    bed = build(**about, sounds=given.sounds)
    if given.keep is None:
        return table(bed, *hear(bed, progress=True))
    with gzip.open(given.keep, "wt", encoding="utf-8") as keep:
        keep.write(json.dumps(about | {"recorded": bool(bed.sounds)}) + "\n")
        return table(bed, *hear(bed, keep=keep, progress=True))


def again(paths: list[Path]) -> str:
    """Tables of what was kept, and all of them together."""
    parts, scores = [], []
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as kept:
            about = json.loads(next(kept))
            recorded = about.pop("recorded")
            bed, tally, scored = decide_again(build(**about, sounds=None), kept)
        parts.append(table(bed, tally, scored, recorded=recorded))
        scores.append(scored)
    if len(parts) > 1:
        figures = Score.together(scores).figures()
        parts.insert(0, "\n".join([f"Together, {figures['array_days']:.3g} array-days:", "", *rates(figures)]))
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
