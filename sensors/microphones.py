"""Which microphone is meant: found by what stays true of it, never by the number that it happens to have today."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sensors.source import SourceError

PROC_ASOUND: Final = Path("/proc/asound")
SYS_SOUND: Final = Path("/sys/class/sound")

_HARDWARE = re.compile(r"\s*\((?:plug)?hw:(?P<card>\d+),(?P<pcm>\d+)\)")
_NUMBERED = re.compile(r"\d+|.*\b(?:plug)?hw:\d.*|:?\d+,\d+")
_TWIN = re.compile(r"_\d+$")


@dataclass(frozen=True, slots=True)
class Card:
    """A sound card as Linux describes it.

    Parameters
    ----------
    number : int
        ALSA's number of it, until the next start.
    card_id : str
        ALSA's short name, as ``ArrayUAC10``; two of a kind get ``Device`` and ``Device_1`` in the order of plugging.
    usb_id : str
        ``vendor:product`` in four hexadecimal digits each; empty when it is not a USB device.
    serial : str
        The USB device's serial number; many have none.
    port : str
        Where it is plugged in: the USB port, as ``1-1.4``, or the name of its bus device.
    """

    number: int
    card_id: str
    usb_id: str = ""
    serial: str = ""
    port: str = ""


@dataclass(frozen=True, slots=True)
class Microphone:
    """An input of PortAudio's list.

    Parameters
    ----------
    index : int
        Its place in the list as it was read last; another one after the next start.
    name : str
        PortAudio's name without ALSA's numbers.
    channels : int
        Most channels that it can give.
    pcm : int
        Number of the input on its card; 0 where there is no card.
    card : Card or None
        None for what is no card of this machine: a sound server's device, a plug-in.
    """

    index: int
    name: str
    channels: int
    pcm: int = 0
    card: Card | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys by which it can be named in a configuration, the surest first."""
        card = self.card
        if card is None:
            return (self.name,)
        keys = [f"usb:{card.usb_id}:{card.serial}"] if card.usb_id and card.serial else []
        keys += [f"port:{card.port}"] if card.port else []
        keys += [f"usb:{card.usb_id}"] if card.usb_id else []
        return (*keys, f"card:{card.card_id}", self.name)


def microphone(index: int, portaudio_name: str, channels: int, cards: dict[int, Card]) -> Microphone:
    """An entry of PortAudio's list with the card that its name points to, as ``Mic: USB Audio (hw:1,0)``."""
    found = _HARDWARE.search(portaudio_name)
    if found is None:
        return Microphone(index, portaudio_name, channels)
    name = portaudio_name.replace(found[0], "")
    return Microphone(index, name, channels, int(found["pcm"]), cards.get(int(found["card"])))


def read_cards(proc_asound: Path = PROC_ASOUND, sys_sound: Path = SYS_SOUND) -> dict[int, Card]:
    """The sound cards by their number, from /proc/asound/cardN and /sys/class/sound/cardN; none elsewhere than Linux.

    What has just been unplugged, or may not be read, counts as empty.
    """
    cards = {}
    for folder in proc_asound.glob("card[0-9]*"):
        digits = folder.name.removeprefix("card")
        if digits.isdigit():
            number = int(digits)
            usb_id, serial, port = _usb(sys_sound / folder.name / "device")
            cards[number] = Card(number, _text(folder / "id"), _text(folder / "usbid") or usb_id, serial, port)
    return cards


def _usb(device: Path) -> tuple[str, str, str]:
    """Vendor and product, serial number, port: of the USB device that the sound card's interface belongs to."""
    try:
        place = device.resolve(strict=True)
    except (OSError, RuntimeError):
        return "", "", ""
    if not (place / "idVendor").exists() and (place.parent / "idVendor").exists():
        place = place.parent
    vendor, product = _text(place / "idVendor"), _text(place / "idProduct")
    return (f"{vendor}:{product}" if vendor and product else "", _text(place / "serial"), place.name)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def check_keys(keys: Sequence[str]) -> None:
    """Refuse what names no microphone, or names it by a number.

    Raises
    ------
    ValueError
        Without a key, and for one that is empty or is a number of PortAudio's or ALSA's.
    """
    if not keys:
        raise ValueError("no key names the microphone: expected a part of its name, card:ID, usb:VENDOR:PRODUCT")
    for key in keys:
        if not key.strip():
            raise ValueError("a microphone's key is empty: expected a part of its name, card:ID or usb:VENDOR:PRODUCT")
        if _NUMBERED.fullmatch(key.strip()):
            raise ValueError(f"{key!r} is a number that changes at the next start: name the microphone, or its USB id")


def choose(microphones: Iterable[Microphone], keys: Sequence[str]) -> Microphone:
    """The microphone that the first key finds which finds exactly one.

    Parameters
    ----------
    microphones : iterable of Microphone
        In any order; the choice does not depend on it, nor on index or card number.
    keys : sequence of str
        ``usb:VENDOR:PRODUCT[:SERIAL]``, ``port:PLACE`` (the USB port that it is plugged into), ``card:ID`` (ALSA's
        short name), anything else a part of the name in any case, the whole name before a part of it. Of a card with
        several inputs the first one is taken.

    Raises
    ------
    ValueError
        As `check_keys`.
    SourceError
        When no key finds exactly one; it says what was found, and what there is.
    """
    check_keys(keys)
    there = sorted(microphones, key=lambda one: (one.name, one.pcm))
    why = []
    for key in keys:
        found = _first_inputs(_matching(key.strip(), there))
        if len(found) == 1 and not _has_twin(key, found[0], there):
            return found[0]
        why.append(f"{key!r} fits {'two of a kind' if len(found) == 1 else len(found) or 'none'}")
    listed = "; ".join(sorted({one.keys[0] if one.card else repr(one.name) for one in there})) or "none at all"
    raise SourceError(f"no microphone: {', '.join(why)}; present: {listed}; plug it in, or mend the keys")


def _matching(key: str, there: Sequence[Microphone]) -> list[Microphone]:
    kind, _, rest = key.partition(":")
    tests: dict[str, Callable[[Card], bool]] = {
        "usb": lambda card: rest.lower() in _usb_names(card),
        "port": lambda card: rest == card.port,
        "card": lambda card: rest == card.card_id,
    }
    if kind in tests and rest:
        return [one for one in there if one.card is not None and tests[kind](one.card)]
    exact = [one for one in there if one.name == key]
    return exact or [one for one in there if key.lower() in one.name.lower()]


def _usb_names(card: Card) -> tuple[str, ...]:
    return (card.usb_id.lower(), *((f"{card.usb_id}:{card.serial}".lower(),) if card.serial else ()))


def _first_inputs(found: Sequence[Microphone]) -> list[Microphone]:
    """One entry for each card, and each of those that have none."""
    cards: dict[int, Microphone] = {}
    for one in sorted(found, key=lambda one: one.pcm):
        if one.card is not None:
            cards.setdefault(one.card.number, one)
    return [*cards.values(), *(one for one in found if one.card is None)]


def _has_twin(key: str, chosen: Microphone, there: Sequence[Microphone]) -> bool:
    """Two of a kind share an ALSA name but for a number that tells who was plugged in first: which, nobody knows."""
    if not key.startswith("card:") or chosen.card is None:
        return False
    stem = _TWIN.sub("", chosen.card.card_id)
    alike = {one.card.number for one in there if one.card is not None and _TWIN.sub("", one.card.card_id) == stem}
    return len(alike) > 1
