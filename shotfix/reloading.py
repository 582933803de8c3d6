"""Reloading: what a running centre takes over from its configuration, read and checked before any of it is taken."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sensors.identity import Keyring
from shotfix.almanac import calendar_of
from shotfix.charter import CharterError
from shotfix.checking import tls_trouble
from shotfix.registry import read_registry, told_revision
from shotfix.streams import setups_of
from shotfix.telling import signing_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from acoustic.air import Air
    from alerts.calendar_event import ExpectedEvent
    from alerts.couriers.webhook import Signing
    from sensors.hearing import Setup
    from shotfix.charter import Charter
    from shotfix.config import SiteConfig
    from shotfix.registry import Registry


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reload:
    """What is taken over: all of it was found to be right.

    Parameters
    ----------
    config : SiteConfig
        As it is now.
    registry : Registry
        The register, under the number that it will have.
    words : tuple of str
        What of it is otherwise than before; none when nothing is.
    keyring : Keyring
        Whom to believe.
    air : Air
        The weather.
    events : tuple of ExpectedEvent
        The calendar.
    setups : dict
        How each sensor's sound is heard.
    signings : dict
        What signs for each webhook, by the courier's name.
    """

    config: SiteConfig
    registry: Registry
    words: tuple[str, ...]
    keyring: Keyring
    air: Air
    events: tuple[ExpectedEvent, ...]
    setups: dict[str, Setup]
    signings: dict[str, Signing]


def prepare(reread: Callable[[], SiteConfig], former: Registry, charter: Charter, data_dir: Path) -> Reload:
    """Read everything again and try whether the running centre could go on with it; writes nothing.

    Parameters
    ----------
    reread : callable
        Reads the configuration.
    former : Registry
        The register that is in force.
    charter : Charter
        What the core was built from.
    data_dir : Path
        Where the history of revisions lies.

    Raises
    ------
    ConfigError, CharterError, IdentityError, CalendarError, ValueError, OSError
        When anything is wrong, with what to do.
    """
    config = reread()
    if trouble := tls_trouble(config):
        raise CharterError(f"listen.tls_cert_file: {trouble}")
    registry, words = former.revised(read_registry(config.network_file), told_revision(data_dir))
    kinds = {type(site.position) for each in (former, registry) for site in each.network.sites}
    if len(kinds) > 1:
        raise CharterError("network: the sensors' places are in another frame than before; that needs a restart")
    charter.owned(registry)
    # The ground stays the one that is in memory, whatever lies at its place now.
    place = replace(charter.place, ground_file=None, ground_sha256=None, ground_sigma_m=None)
    replace(charter, place=place).core(charter.share(registry))
    air, events = config.air.air(), calendar_of(config, time.time_ns(), lambda said: _log.info("%s", said))
    keyring = Keyring(registry.keys, registry.revoked)
    signings = {courier.name: signing_of(courier) for courier in config.couriers if courier.kind == "webhook"}
    return Reload(config, registry, words, keyring, air, events, setups_of(registry, air), signings)
