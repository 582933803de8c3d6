"""The demo: a recorded night becomes signed webhooks, and a receiver in its own process reads them out."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alerts.couriers.destination import Destination
from alerts.couriers.webhook import Secret, Webhook
from alerts.delivery import Route
from alerts.record.outbox import Outbox
from alerts.record.store import Store
from localization.study.folder import complete
from localization.study.scene_reading import read_scene
from shotfix import playback, results
from shotfix.outbox_pump import Pump
from shotfix.picture import draw_map
from shotfix.progress import progress

if TYPE_CHECKING:
    from alerts.alert import Alert

COURIER: Final = "control-room"
PATIENCE_S: Final = 30.0  # for a receiver to start, and for the last alert to arrive
KEY_BYTES: Final = 32


def show(scene_path: Path, out: Path, *, force: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Play a scene, deliver its alerts, and leave the run with what was received; the run's summary.

    Parameters
    ----------
    scene_path, out : Path
        The scene's folder; the folder for the results.
    force : bool
        Overwrite an earlier run.
    say : callable
        Takes a line for the person who watches; the receiver's, too, from another thread.

    Raises
    ------
    SceneError, OutputError
        As for a replay.
    UnavailableError
        When the receiver does not start, or does not take every alert.
    """
    results.check_free(out, force=force)
    scene = read_scene(scene_path, audio=True)
    seconds = playback.audio_seconds(scene)
    say(f"{scene.name}: {len(scene.network.sites)} sensors, {seconds / 60.0:.0f} minutes of sound in all")
    say("what the control room's receiver reads:\n")
    with complete(out, results.FILES) as work:
        secret = _new_secret(work / "secret")
        with _receiver(work, say) as url, Store(work / "record.db") as store, _carrying(store, url, secret) as carrying:
            with progress(f"replay {scene.name}", seconds, "s of audio") as advance:
                run = playback.replay(scene, progress=advance, tell=lambda alert: _keep(store, alert))
            pending = carrying.rest(PATIENCE_S)
        results.write_run(run, work)
        draw_map(run, work / "map.png")
    if pending:
        raise results.UnavailableError(
            f"{pending} alerts were not taken by the receiver; they are kept in {out}/record.db"
        )
    summary = results.summary(run)
    counts = summary["counts"]
    alerts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts["alerts"].items()))
    say(f"{counts['shots']} bangs heard, {counts['fixes']} placed; incidents: {alerts}")
    say(f"a suppressed or reviewed one is kept with its reason; everything is in {out}, the map in {out / 'map.png'}")
    return summary


def _new_secret(path: Path) -> Secret:
    secret = Secret(secrets.token_bytes(KEY_BYTES))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secret.text() + "\n")
    return secret


def _keep(store: Store, alert: Alert) -> None:
    store.keep([alert], [Route(COURIER)], time.time_ns())


@contextmanager
def _receiver(work: Path, say: Callable[[str], None]) -> Iterator[str]:
    """A receiver process, from its first word to its end; the URL it listens at."""
    command = [sys.executable, "-m", "alerts.couriers.loopback"]
    command += ["--secret-file", str(work / "secret"), "--log", str(work / "received.jsonl"), "--until-stdin-ends"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101  (it is a pipe)
            first = process.stdout.readline().split()
            if first[:1] != ["ready"]:
                raise results.UnavailableError("the receiver did not start; what it said stands above")
            reader = threading.Thread(target=_pass_on, args=(process.stdout, say), daemon=True)
            reader.start()
            yield first[1]
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:  # stopped, or stuck: nothing more will come from it
                process.kill()
        reader.join(PATIENCE_S)


def _pass_on(stream: Iterator[str], say: Callable[[str], None]) -> None:
    for line in stream:
        say(line.rstrip("\n"))


class _Carrying:
    """A pump at work in its own thread, until somebody asks for the rest."""

    def __init__(self, store: Store, courier: Webhook) -> None:
        self._outbox, self._courier = Outbox(store), courier
        self._stop = threading.Event()
        pump = Pump(self._outbox, courier, time.time_ns, self._stop.wait)
        self._thread = threading.Thread(target=pump.run, args=(self._stop.is_set,))
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def rest(self, within_s: float) -> int:
        """Carry what is left, in this thread; how much still is then."""
        self.stop()
        return Pump(self._outbox, self._courier, time.time_ns, time.sleep).drain(within_s)


@contextmanager
def _carrying(store: Store, url: str, secret: Secret) -> Iterator[_Carrying]:
    """Alerts carried to the receiver while the night goes on."""
    courier = Webhook(COURIER, Destination(url, allow_private=True), [secret])
    carrying = _Carrying(store, courier)
    try:
        yield carrying
    finally:
        carrying.stop()
        courier.close()
