"""Webhooks: alerts as Standard Webhooks 1.0.0, signed with HMAC-SHA256; at wish also CloudEvents 1.0."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from acoustic.instant import SECOND
from alerts.couriers.bounded_resolver import BoundedResolver
from alerts.couriers.destination import Destination, RefusedError, Resolver, system_resolver
from alerts.delivery import LATE_HEADER, Delivery, Receipt
from alerts.words import plain
from sensors.known_type import known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from alerts.couriers.bounded_http import Answer

PREFIX: Final = "whsec_"
SHORTEST_KEY: Final = 24
LONGEST_KEY: Final = 64
FIRST_TIMEOUT_S: Final = 5.0  # for a whole attempt; the quick tries must not wait for a receiver that hangs
LATER_TIMEOUT_S: Final = 20.0  # Standard Webhooks recommends 15 to 30 s
QUICK_ATTEMPTS: Final = 6
SHOWN_BYTES: Final = 200  # of a refusal: enough to tell a person why
GONE: Final = 410

SOURCE: Final = "/shotfix"
"""Who says it, to a receiver of CloudEvents; a city that has several centres gives each its own."""


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A signing key of 24 to 64 bytes; it shows itself to nobody.

    Raises
    ------
    ValueError
        When it has another length.
    """

    key: bytes

    def __post_init__(self) -> None:
        if not SHORTEST_KEY <= len(self.key) <= LONGEST_KEY:
            raise ValueError(f"the key has {len(self.key)} bytes: expected {SHORTEST_KEY} to {LONGEST_KEY}")

    @classmethod
    def parse(cls, text: str) -> Secret:
        """Read a secret as it is handed out: ``whsec_`` and the key in base64.

        Raises
        ------
        ValueError
            In any other form; the message does not repeat what was given.
        """
        text = text.strip()
        if not text.startswith(PREFIX):
            raise ValueError(f"a webhook secret begins with {PREFIX}")
        try:
            return cls(base64.b64decode(text.removeprefix(PREFIX), validate=True))
        except binascii.Error:
            raise ValueError(f"what follows {PREFIX} is not base64") from None

    def __repr__(self) -> str:
        return "Secret(...)"

    def text(self) -> str:
        """The secret as it is handed to the receiver, once."""
        return PREFIX + base64.b64encode(self.key).decode()


@dataclass(frozen=True, slots=True)
class Signing:
    """What signs: all of the secrets, the new one first; from ``former_until_ns`` on (None: never) the first alone.

    Raises
    ------
    ValueError
        Without a secret.
    """

    secrets: tuple[Secret, ...]
    former_until_ns: int | None = None

    def __post_init__(self) -> None:
        if not self.secrets:
            raise ValueError("a webhook needs at least one secret")

    def at(self, now_ns: int) -> tuple[Secret, ...]:
        """Those that sign at this instant."""
        over = self.former_until_ns is not None and now_ns >= self.former_until_ns
        return self.secrets[:1] if over else self.secrets


def sign(secret: Secret, message_id: str, timestamp_s: int, body: bytes) -> str:
    """One signature, as ``v1,<base64>``: HMAC-SHA256 over ``id.timestamp.body`` (Standard Webhooks 1.0.0)."""
    if "." in message_id:
        raise ValueError(f"{message_id!r} holds a full stop, which separates the signed parts")
    signed = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret.key, signed, hashlib.sha256).digest()).decode()


def body_of(delivery: Delivery) -> bytes:
    """The body: type, time of the event, and the alert exactly as it was stored; the same at every attempt."""
    head = f'{{"type":"alert.{delivery.kind}","timestamp":"{delivery.published_at}","data":'
    return head.encode() + delivery.document + b"}"


def cloud_event(delivery: Delivery, source: str) -> dict[str, str]:
    """The headers that make a message a CloudEvent 1.0 as well, in binary mode (HTTP protocol binding, section 3.1).

    Its data is the body as it is; ``source`` and ``id`` together name it, the same at every attempt.
    """
    version = msgspec.json.decode(delivery.document, type=known(_Version)).schema_version
    return {
        "ce-specversion": "1.0",
        "ce-id": delivery.message_id,
        "ce-source": source,
        "ce-type": f"shotfix.alert.{delivery.kind}",
        "ce-time": delivery.published_at,
        "ce-subject": delivery.alert_id,
        "ce-dataschema": f"urn:shotfix:alert:{version}",
    }


class _Version(msgspec.Struct):
    schema_version: str = "1.0"


class Webhook:
    """A courier that posts to one receiver.

    Every attempt has a fresh timestamp and fresh signatures under the same ``webhook-id``. Only an answer of 200 to
    299 counts, by its status alone; redirects are not followed. The host is resolved once for each attempt, and the
    address that was checked is the one connected to. However slow the receiver is, an attempt ends `FIRST_TIMEOUT_S`
    (later `LATER_TIMEOUT_S`) after its connection was begun, and no more than a few kilobytes of an answer are read;
    the look-up of the name before that is awaited for `alerts.couriers.bounded_resolver.LONGEST_S`.

    An alert is sent whatever its size. Standard Webhooks recommends bodies under 20 kB, and most alerts are; one of a
    hundred rounds is not, and to leave rounds out, or to say nothing, would be worse than a long body.

    Parameters
    ----------
    name : str
        As the outbox knows it.
    destination : Destination
        Where to.
    secrets : sequence of Secret
        All sign: while keys are rotated, the new one first and then the former.
    resolve : Resolver or None
        Instead of the system's resolver.
    ca_file : Path or None
        Certificates to trust instead of the public ones: for a receiver with a city's own authority.
    former_until_ns : int or None
        From then on, wall clock UTC, only the first secret signs; None: all do for as long as this lives.
    source : str or None
        Also say what CloudEvents 1.0 wants, with this URI reference as the source; None: do not.

    Raises
    ------
    ValueError
        Without a secret, or with a source that is no URI reference.
    OSError
        When the certificates cannot be read.
    """

    def __init__(
        self,
        name: str,
        destination: Destination,
        secrets: Sequence[Secret],
        resolve: Resolver | None = None,
        ca_file: Path | None = None,
        *,
        former_until_ns: int | None = None,
        source: str | None = None,
    ) -> None:
        self.signing = Signing(tuple(secrets), former_until_ns)
        """What signs; another may take its place at any moment, from any thread."""
        if source is not None and not (source and source.isascii() and source.isprintable() and " " not in source):
            raise ValueError("the source of events is a URI reference, as /shotfix: printable ASCII without spaces")
        from alerts.couriers.bounded_http import BoundedHttp  # only who delivers pays for its import

        for noisy in ("httpx", "httpcore"):  # they log whole URLs, and a URL may hold a token
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self._name = name
        self._destination = destination
        self._resolve = BoundedResolver(resolve or system_resolver)
        self._source = source
        self._http = BoundedHttp(secure=destination.url.startswith("https:"), ca_file=ca_file)

    def __repr__(self) -> str:
        return f"Webhook({self._name!r}, {self._destination.shown!r})"

    @property
    def name(self) -> str:
        """As the outbox knows it."""
        return self._name

    def close(self) -> None:
        """Close the connections; a later delivery opens new ones."""
        self._http.close()

    def headers(self, delivery: Delivery, body: bytes, now_ns: int) -> dict[str, str]:
        """The headers of an attempt at ``now_ns``; what is late by then says so, without a signature over it."""
        late = {LATE_HEADER: "true"} if delivery.late(now_ns) else {}
        event = {} if self._source is None else cloud_event(delivery, self._source)
        timestamp_s = now_ns // SECOND
        signatures = (sign(secret, delivery.message_id, timestamp_s, body) for secret in self.signing.at(now_ns))
        return {
            "content-type": "application/json",
            "user-agent": "shotfix",
            "webhook-id": delivery.message_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": " ".join(signatures),
            **event,
            **late,
        }

    def deliver(self, delivery: Delivery, now_ns: int) -> Receipt:
        """Try once; whatever goes wrong is in the receipt."""
        from alerts.couriers.bounded_http import NoAnswerError

        try:
            address = self._destination.checked_address(self._resolve)
        except RefusedError as error:
            return Receipt(delivered=False, detail=f"refused: {plain(str(error))}")
        except (OSError, UnicodeError) as error:
            words = f"{self._destination.host} does not resolve: {plain(str(error))}"
            return Receipt(delivered=False, detail=words, unanswered=True)
        body = body_of(delivery)
        try:
            headers = {"host": self._host_header(), **self.headers(delivery, body, now_ns)}
        except ValueError as error:
            return Receipt(delivered=False, detail=f"cannot be sent: {plain(str(error))}")
        if odd := [name for name, value in headers.items() if not (value.isascii() and value.isprintable())]:
            words = f"cannot be sent: {odd[0]} would hold what no header can, something else than printable ASCII"
            return Receipt(delivered=False, detail=words)
        within_s = FIRST_TIMEOUT_S if delivery.attempts < QUICK_ATTEMPTS else LATER_TIMEOUT_S
        try:
            # The certificate must be that of the name, though the connection goes to the address.
            answer = self._http.post(self._url_at(address), self._destination.host, headers, body, within_s)
        except NoAnswerError as error:
            words = f"no answer from {self._destination.shown}: {plain(str(error))}"
            return Receipt(delivered=False, detail=words, unanswered=True)
        return _receipt(answer, now_ns)

    def _url_at(self, address: str) -> str:
        parts = urlsplit(self._destination.url)
        literal = f"[{address}]" if ":" in address else address
        return urlunsplit((parts.scheme, f"{literal}:{self._destination.port}", parts.path or "/", parts.query, ""))

    def _host_header(self) -> str:
        return urlsplit(self._destination.url).netloc


def _receipt(answer: Answer, now_ns: int) -> Receipt:
    code = answer.status_code
    if 200 <= code < 300:
        return Receipt(delivered=True, detail=f"answered {code}", status_code=code)
    words = plain(answer.said[:SHOWN_BYTES].decode("utf-8", "replace"))
    return Receipt(
        delivered=False,
        detail=f"answered {code}" + (f": {words}" if words else ""),
        status_code=code,
        retry_after_s=_retry_after_s(answer.headers, now_ns),
        gone=code == GONE,
    )


def _retry_after_s(headers: Mapping[str, str], now_ns: int) -> float | None:
    """Retry-After in seconds, or as a date against the receiver's own Date, or our clock (RFC 9110, section 10.2.3)."""
    text = headers.get("retry-after")
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    until = _date(text)
    told = _date(headers.get("date", "")) or datetime.fromtimestamp(now_ns // SECOND, UTC)
    return None if until is None else (until - told).total_seconds()


def _date(text: str) -> datetime | None:
    """A date of HTTP; None when it is none, or has no zone."""
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if date.tzinfo is None else date
