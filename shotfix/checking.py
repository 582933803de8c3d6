"""Checking a configuration as its program would at the start, and saying all of what is wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shotfix.config_reading import ConfigError, Problem, kind_of, read_node, read_site

if TYPE_CHECKING:
    from collections.abc import Callable

    from shotfix.config import SiteConfig

WORDS = {"site": "a centre", "node": "a sensor node", "network": "a network"}


def check_file(path: Path) -> dict[str, Any]:
    """What a file configures and everything that is wrong with it; of a centre, with its network.

    Returns
    -------
    dict
        ``file``, ``kind`` and ``problems``, each with file, line (0 where there is none), key, message, and all of
        these as ``text``; ``notes``: what is not wrong and may yet be otherwise than meant.
    """
    found: dict[str, Any] = {"file": str(path), "kind": None, "problems": [], "notes": []}
    try:
        kind = kind_of(path)
        found["kind"] = WORDS[kind]
        if kind == "node":
            _check_node(path)
        elif kind == "site":
            checked_site(path)
        else:
            _check_network(path)
        if kind == "site":
            _check_calendar(path, found["notes"].append)
    except ConfigError as error:
        found["problems"] = [
            {"file": each.file, "line": each.line, "key": each.key, "message": each.message, "text": str(each)}
            for each in error.problems
        ]
    return found


def _check_node(path: Path) -> None:
    """The node's file, and its key."""
    from sensors.identity import IdentityError, NodeKey  # keys are slow to load

    config = read_node(path)
    try:
        NodeKey.load(config.node.key_file)
    except IdentityError as error:
        raise ConfigError([Problem(path.name, 0, "node.key_file", str(error))]) from None


def checked_site(path: Path) -> SiteConfig:
    """What a centre is told, once everything of its start that needs no socket and no disk was seen to be right.

    That is its certificate, its register, the couriers' secrets and the engine's core. The centre itself begins with
    this, at its start and at a reload.

    Raises
    ------
    ConfigError
        When anything is wrong.
    """
    from shotfix.charter import Charter, CharterError  # it loads the engine

    config = read_site(path)
    if problem := tls_trouble(config):
        raise ConfigError([Problem(path.name, 0, "listen.tls_cert_file", problem)])
    registry = _check_network(config.network_file)
    try:
        charter = Charter.of(config)
        charter.core(charter.share(registry))
    except (CharterError, ValueError, OSError) as error:
        raise ConfigError([Problem(path.name, 0, "", str(error))]) from None
    return config


def _check_calendar(path: Path, say: Callable[[str], None]) -> None:
    """The calendar alone: a centre starts without one that is broken, and says so; who asks is told before."""
    from alerts.calendar_entry import CalendarError
    from shotfix.almanac import calendar_of

    try:
        calendar_of(read_site(path), time.time_ns(), say)
    except (CalendarError, OSError) as error:
        raise ConfigError([Problem(path.name, 0, "expected.calendar_file", str(error))]) from None


def tls_trouble(config: SiteConfig) -> str:
    """Why certificate and key cannot be used, in words, or nothing."""
    import ssl  # few centres have a certificate of their own

    listen = config.listen
    if listen.tls_cert_file is None:
        return ""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(listen.tls_cert_file, listen.tls_key_file)
    except ssl.SSLError as error:
        return (
            f"{error.reason or 'no certificate and key'}: expected a certificate chain in PEM, and the key of its first"
        )
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return ""


def _check_network(path: Path) -> Any:
    from sensors.identity import IdentityError, Keyring  # keys are slow to load
    from shotfix.registry import read_registry

    registry = read_registry(path)
    try:
        Keyring(registry.keys, registry.revoked)
    except IdentityError as error:
        raise ConfigError([Problem(path.name, 0, "node", str(error))]) from None
    return registry
