"""Webhooks: alerts as Standard Webhooks 1.0.0, signed with HMAC-SHA256."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from acoustic.instant import SECOND
from alerts.couriers.destination import Destination, RefusedError, Resolver
from alerts.delivery import LATE_HEADER, Delivery, Receipt
from alerts.words import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import httpx

PREFIX: Final = "whsec_"
SHORTEST_KEY: Final = 24
LONGEST_KEY: Final = 64
FIRST_TIMEOUT_S: Final = 5.0  # the quick tries must not wait for a receiver that hangs
LATER_TIMEOUT_S: Final = 20.0  # Standard Webhooks recommends 15 to 30 s
QUICK_ATTEMPTS: Final = 6
READ_BYTES: Final = 200  # of a refusal: enough to tell a person why


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


class Webhook:
    """A courier that posts to one receiver.

    Every attempt has a fresh timestamp and fresh signatures under the same ``webhook-id``. Only an answer of 200 to
    299 counts; redirects are not followed. The host is resolved once for each attempt, and the address that was
    checked is the one connected to. One thread at a time.

    Parameters
    ----------
    name : str
        As the outbox knows it.
    destination : Destination
        Where to.
    secrets : sequence of Secret
        All sign: while keys are rotated, the new and the old one.
    resolve : Resolver or None
        Instead of the system's resolver.
    ca_file : Path or None
        Certificates to trust instead of the public ones: for a receiver with a city's own authority.

    Raises
    ------
    ValueError
        Without a secret.
    """

    def __init__(
        self,
        name: str,
        destination: Destination,
        secrets: Sequence[Secret],
        resolve: Resolver | None = None,
        ca_file: Path | None = None,
    ) -> None:
        if not secrets:
            raise ValueError("a webhook needs at least one secret")
        self._name = name
        self._destination = destination
        self._secrets = tuple(secrets)
        self._resolve = resolve
        self._ca_file = ca_file
        self._client: httpx.Client | None = None

    def __repr__(self) -> str:
        return f"Webhook({self._name!r}, {self._destination.shown!r})"

    @property
    def name(self) -> str:
        """As the outbox knows it."""
        return self._name

    def close(self) -> None:
        """Close the connections; a later delivery opens new ones."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def headers(self, delivery: Delivery, body: bytes, now_ns: int) -> dict[str, str]:
        """The headers of an attempt at ``now_ns``; what is late by then says so, without a signature over it."""
        late = {LATE_HEADER: "true"} if delivery.late(now_ns) else {}
        timestamp_s = now_ns // SECOND
        signatures = (sign(secret, delivery.message_id, timestamp_s, body) for secret in self._secrets)
        return {
            "content-type": "application/json",
            "user-agent": "shotfix",
            "webhook-id": delivery.message_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": " ".join(signatures),
            **late,
        }

    def deliver(self, delivery: Delivery, now_ns: int) -> Receipt:
        """Try once; whatever goes wrong is in the receipt."""
        import httpx  # noqa: PLC0415  (a tenth of a second that only who delivers pays)

        try:
            address = self._destination.checked_address(self._resolve)
        except RefusedError as error:
            return Receipt(delivered=False, detail=f"refused: {plain(str(error))}")
        except (OSError, UnicodeError) as error:
            words = f"{self._destination.host} does not resolve: {plain(str(error))}"
            return Receipt(delivered=False, detail=words, unanswered=True)
        body = body_of(delivery)
        try:
            return self._post(address, body, self.headers(delivery, body, now_ns), delivery.attempts)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            words = f"no answer from {self._destination.shown}: {type(error).__name__}"
            return Receipt(delivered=False, detail=words, unanswered=True)

    def _post(self, address: str, body: bytes, headers: dict[str, str], attempts: int) -> Receipt:
        client = self._opened()
        request = client.build_request(
            "POST",
            self._url_at(address),
            content=body,
            headers=headers | {"host": self._host_header()},
            timeout=FIRST_TIMEOUT_S if attempts < QUICK_ATTEMPTS else LATER_TIMEOUT_S,
            # The certificate must be that of the name, though the connection goes to the address.
            extensions={"sni_hostname": self._destination.host},
        )
        response = client.send(request, stream=True)
        try:
            return _receipt(response)
        finally:
            response.close()

    def _opened(self) -> httpx.Client:
        if self._client is None:
            import httpx  # noqa: PLC0415

            for noisy in ("httpx", "httpcore"):  # they log whole URLs, and a URL may hold a token
                logging.getLogger(noisy).setLevel(logging.WARNING)
            # No proxy from the environment: it would connect on our behalf to what was not checked.
            verify = True if self._ca_file is None else ssl.create_default_context(cafile=self._ca_file)
            self._client = httpx.Client(follow_redirects=False, trust_env=False, verify=verify)
        return self._client

    def _url_at(self, address: str) -> str:
        parts = urlsplit(self._destination.url)
        literal = f"[{address}]" if ":" in address else address
        return urlunsplit((parts.scheme, f"{literal}:{self._destination.port}", parts.path or "/", parts.query, ""))

    def _host_header(self) -> str:
        return urlsplit(self._destination.url).netloc


def _receipt(response: Any) -> Receipt:
    code = response.status_code
    if 200 <= code < 300:
        return Receipt(delivered=True, detail=f"answered {code}", status_code=code)
    words = plain(next(response.iter_raw(READ_BYTES), b"").decode("utf-8", "replace"))
    return Receipt(
        delivered=False,
        detail=f"answered {code}" + (f": {words}" if words else ""),
        status_code=code,
        retry_after_s=_retry_after_s(response.headers),
    )


def _retry_after_s(headers: Any) -> float | None:
    """Retry-After in seconds, or as a date against the receiver's own Date (RFC 9110, section 10.2.3)."""
    text = headers.get("retry-after")
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return (parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError):
        return None
