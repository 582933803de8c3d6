"""Configuration of what a centre tells, and to whom: couriers, record, places, calendar, people, review."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from acoustic.instant import parse_instant
from alerts.couriers.destination import Destination
from alerts.expectation import FLAT_HOURS
from alerts.policy import OUTCOMES
from shotfix.config_fields import NAME_FORM, NAME_PATTERN, FieldError, check, number, path, plain, text, url
from shotfix.config_node import MEGABYTE, loopback

VARIABLE: Final = "env:"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret is to be had: a file that nobody else may read, or an environment variable. Never the secret."""

    file: Path | None = None
    variable: str | None = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.variable is None):
            raise ValueError("a secret comes from a file or from a variable, and from one of them")

    def read(self) -> str:
        """The secret, without white space around it.

        Raises
        ------
        ValueError
            When the variable is not set, or what is there is empty; the message names the place only.
        OSError
            When the file cannot be read.
        """
        if self.file is not None:
            said = self.file.read_text("utf-8", "replace").strip()
        else:
            said = os.environ.get(self.variable or "", "").strip()
        if not said:
            raise ValueError(f"{self}: empty, or not set; put the secret there")
        return said

    def __str__(self) -> str:
        return str(self.file) if self.file is not None else f"{VARIABLE}{self.variable}"


def _hours_trouble(said: tuple[float, ...]) -> str:
    if len(said) != len(FLAT_HOURS) or not all(0.01 <= each <= 100.0 for each in said):
        return "expected 24 numbers from 0.01 to 100"
    return ""


def _instant_trouble(said: str) -> str:
    try:
        parse_instant(said)
    except ValueError as error:
        return str(error)
    return ""


def _outcomes_trouble(said: tuple[str, ...]) -> str:
    wrong = [each for each in said if each not in OUTCOMES]
    if not said:
        return f"empty: it would never be told; expected some of {', '.join(OUTCOMES)}"
    return f'"{wrong[0][:40]}"; expected some of {", ".join(OUTCOMES)}' if wrong else ""


def _members(database: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(database).query, keep_blank_values=True)


def _is_readable(database: str) -> bool:
    """Whether what is said to a database can be read on the way to it, or said to another."""
    parts = urlsplit(database)
    named = dict(_members(database))
    # libpq takes several hosts, and addresses and services beside them: each may be another machine.
    said = (named.get("host") or parts.netloc.rpartition("@")[2], named.get("hostaddr", ""), named.get("service", ""))
    hosts = [unquote(host) for hosts in said for host in hosts.split(",") if host]
    here = all(host.startswith("/") or loopback(host.rpartition(":")[0] or host) or loopback(host) for host in hosts)
    return not here and named.get("sslmode") not in {"verify-full", "verify-ca"}


@dataclass(frozen=True, slots=True)
class CourierConfig:
    """Somebody who is told of alerts."""

    name: str = text("What deliveries call it.", NAME_PATTERN, NAME_FORM)
    url: str | None = url(
        "Of a webhook: where to; it may hold a token, hence it is never shown. Also env:NAME.", "https", "http",
        secret=True, default=None,
    )  # fmt: skip
    secret_file: SecretSource | None = plain(
        "Of a webhook: the signing secret: a file that nobody else may read, or env:NAME.", default=None
    )
    kind: Literal["webhook", "drop"] = plain("How: posted to a URL, or as files in a folder.", default="webhook")
    previous_secret_file: SecretSource | None = plain(
        "While keys are rotated, the former secret: both sign until the receiver knows the new one.", default=None
    )
    previous_until: str | None = text(
        "From when on only the new secret signs, as 2026-12-01T00:00:00Z.", also=_instant_trouble, default=None
    )
    ca_file: Path | None = path("The certificate that signs the receiver's, where that is no public one.", "file",
                                default=None)  # fmt: skip
    folder: Path | None = path("Of a drop: the folder that files appear in.", "store", default=None)
    outcomes: tuple[str, ...] = plain(
        "Of which alerts.", default=("published",), longest=len(OUTCOMES), also=_outcomes_trouble
    )
    allow_private: bool = plain("The address may lie inside one's own network, and only there be http.", default=False)
    cloudevents: bool = plain("Also say what CloudEvents 1.0 wants, in headers.", default=False)
    parallel: int = number("Deliveries under way at one moment, each of another alert.", 1, 64, default=4)
    revisions_per_minute: float = number(
        "Of revisions; the first word of an alert, and the last of one that is cancelled, never wait for this.",
        1, 100_000, default=60.0,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self)
        wanted, others = (
            (("folder",), ("url", "secret_file", "previous_secret_file", "previous_until", "ca_file"))
            if self.kind == "drop"
            else (("url", "secret_file"), ("folder",))
        )
        for key in wanted:
            if getattr(self, key) is None:
                form = {"url": "a URL in quotes", "secret_file": "a path in quotes, or env:NAME"}
                raise FieldError(key, f"absent; expected {form.get(key, 'a path in quotes')}")
        for key in others:
            if getattr(self, key) is not None:
                raise FieldError(key, f"a courier of kind {self.kind} has none; leave it out")
        if self.url is not None:
            try:
                Destination(self.url, self.allow_private).check_literal()
            except ValueError as error:
                raise FieldError("url", str(error)) from None


@dataclass(frozen=True, slots=True)
class RecordConfig:
    """Where alerts are kept, and for how long what led to them is."""

    path: Path = path("The record of alerts, relative to data_dir.", "inside", default=Path("record.db"))
    database: str | None = url(
        "PostgreSQL instead, as postgresql:///shotfix. Also env:NAME, where it holds a password.", "postgresql",
        secret=True, default=None,
    )  # fmt: skip
    journal_days: float = number("Messages older than this are let go.", 1, 36_600, default=30.0)
    journal_bytes: int = number("And the oldest beyond so much.", 100 * MEGABYTE, 10**15, default=20_000 * MEGABYTE)
    audio_days: float = number("Sound that no alert names is let go after this.", 0, 36_600, default=7.0)
    audio_bytes: int = number(
        "And the oldest beyond so much; what an alert names stays.", 0, 10**15, default=20_000 * MEGABYTE
    )
    alert_days: float = number(
        "Alerts that were suppressed, and that nobody looked at or pinned, are let go after this; all others stay.",
        1, 36_600, default=400.0,
    )  # fmt: skip
    alert_bytes: int = number("And the oldest of those beyond so much.", 0, 10**15, default=20_000 * MEGABYTE)
    access_days: float = number("Who looked at what is remembered so long.", 30, 36_600, default=400.0)

    def __post_init__(self) -> None:
        check(self)
        if self.database is None:
            return
        names = [name for name, _ in _members(self.database)]
        if len(set(names)) < len(names):
            # Which of them counts, one reader of URLs knows otherwise than the next.
            raise FieldError("database", "says something twice after the ?, as sslmode; leave each there once")
        if _is_readable(self.database):
            raise FieldError(
                "database",
                "to another machine it is readable on the way; add ?sslmode=verify-full (and &sslrootcert=FILE for an "
                "authority of one's own)",
            )


@dataclass(frozen=True, slots=True)
class GazetteerConfig:
    """What stands where: made by `shotfix places import`."""

    file: Path = path("The index of places.", "file")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class ExpectedConfig:
    """What other bangs are to be expected, and when: it makes the prior, never the evidence."""

    calendar_file: Path | None = path(
        "An iCalendar file of permitted fireworks, parades and the like; a running centre reads it again on SIGHUP.",
        "file", default=None,
    )  # fmt: skip
    hours: tuple[float, ...] = plain(
        "For each hour of the day, from midnight in the site's time zone, how likely gunfire is; only how they compare "
        "counts.",
        default=FLAT_HOURS, longest=24, also=_hours_trouble,
    )  # fmt: skip
    ordinary_per_hour: float = number(
        "Bangs other than gunfire on an ordinary night, within near_m.", 0.01, 10_000, default=12.0
    )
    near_m: float = number("Bangs no farther away count as those around an incident.", 100, 10_000, default=2000.0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class PeopleConfig:
    """Who may ask the centre for what."""

    file: Path = path("Names, roles and digests of tokens, inside data_dir.", "inside", default=Path("people.toml"))
    audio_for_researchers: bool = plain("Researchers may listen, too.", default=False)
    clips_per_hour: int = number(
        "Different clips that one person may fetch: who has their token must not carry away all.",
        1, 1_000_000, default=2000,
    )  # fmt: skip
    idle_days: float = number(
        "A token that nobody shows for so long, while the centre runs, counts no more until it is renewed.",
        0.01, 3650, default=30.0,
    )  # fmt: skip
    program_idle_days: float = number("The same for tokens of couriers, which may have nothing to fetch for long.",
                                      0.01, 3650, default=90.0)  # fmt: skip

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class ReviewConfig:
    """How people look at incidents."""

    claim_s: float = number("A claim ends after this, unless it is made again.", 10, 3600, default=120.0)
    second_share: float = number("Share of judged incidents that a second reviewer judges, blind.", 0, 1, default=0.1)

    def __post_init__(self) -> None:
        check(self)
