"""Problems: what the API says when it does not do what it was asked, as RFC 9457 has it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.responses import Response

from alerts.words import plain

TYPE: Final = "application/problem+json"
ASK_LATER_S: Final = 1

CODES: Final[dict[str, tuple[int, str]]] = {
    "bad-request": (400, "The query, a header or the body is not as the documentation has it."),
    "no-token": (401, "There is no token, or it is nobody's, expired, revoked, or lay unused for too long."),
    "not-permitted": (403, "The role of this token may not do that."),
    "unknown": (404, "There is no such thing, or none that this role is told of."),
    "method": (405, "The path is right, the method is not."),
    "conflict": (409, "Somebody was quicker; `version`, `changed_by` and `changed_at` say how it stands."),
    "in-progress": (409, "A request of the same Idempotency-Key is still being answered."),
    "no-length": (411, "A body comes with its Content-Length."),
    "too-large": (413, "The body is larger than any that is taken."),
    "media-type": (415, "A body is application/json."),
    "range": (416, "The range lies outside of the sound."),
    "objection": (422, "It makes no sense for this incident as it stands."),
    "key-reused": (422, "The Idempotency-Key was used before, for another request."),
    "no-version": (428, "Say which version you decide about: If-Match, or `version` in the body."),
    "too-many": (
        429,
        "Too many requests at once, too many wrong tokens, or too much sound; Retry-After says when to come again.",
    ),
    "fault": (500, "A fault of ours; the log has it under `reference`."),
    "busy": (503, "The centre is busy; nothing was done. Ask again."),
    "record": (503, "The record cannot be read or written just now; nothing was done."),
}
"""Every ``code`` with its HTTP status, and what it means."""


class Problem(Exception):  # noqa: N818  (RFC 9457 calls it so)
    """Something that keeps the API from doing what it was asked.

    Parameters
    ----------
    code : str
        One of `CODES`.
    detail : str
        What is wrong and what to do; it may hold what strangers sent, and is made plain.
    headers : dict
        Further headers of the answer.
    more : object
        Further members.
    """

    def __init__(self, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status = CODES[code][0]
        self.code = code
        self.detail = plain(detail)[:1_000]
        self.headers = headers or {}
        self.more = more

    def response(self) -> Response:
        """As an answer."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        return Response(msgspec.json.encode(body | self.more), self.status, self.headers, media_type=TYPE)


def later(code: str, detail: str, after_s: float = ASK_LATER_S) -> Problem:
    """A problem that is over in a while."""
    return Problem(code, detail, {"retry-after": str(max(1, round(after_s)))})
